use super::archive::Writer;
use super::*;
use crate::stores::Stores;
use ringpost_admin::{Command, Control};
use std::os::unix::fs::PermissionsExt;

fn config(data: &Path) -> Config {
    Config {
        data: Some(data.to_path_buf()),
        domains: vec!["example.org".into()],
        user: Some("root".into()),
        ..Config::default()
    }
}

/// A data folder with an account, held by nobody.
async fn filled(data: &Path) -> Config {
    let config = config(data);
    let stores = Stores::open(data_folder::hold(data).unwrap(), &config)
        .await
        .unwrap();
    let add = Command::AccountAdd {
        address: "alice@example.org".into(),
        extension: None,
        password: Some("secret words".into()),
    };
    stores.control(stores.mail()).handle(add).await.unwrap();
    config
}

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

#[tokio::test]
async fn a_backup_in_a_folder_is_its_owners_alone_and_restores_to_the_same_accounts_and_keys() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let from = filled(&old).await;
    fs::create_dir(old.join("keys")).unwrap();
    fs::write(old.join("keys/other.pem"), "kept").unwrap();
    fs::write(old.join("keys/other.new"), "half").unwrap();
    let (file, counted) = backup(&from, folder.path(), NOW).unwrap();
    assert_eq!(file.file_name().unwrap(), "ringpost-20270115-080000.tar");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "the old folder and the backup: {left:?}");
    assert!(!old.join(LINKS).exists());

    let to = config(&new);
    let (restored, report) = restore(&to, &file).await.unwrap();
    assert_eq!(restored, counted);
    assert!(report.is_sound() && report.accounts == 1, "{report:?}");
    assert_eq!(fs::read(new.join("keys/other.pem")).unwrap(), b"kept");
    assert!(!new.join("keys/other.new").exists(), "it was not whole");
    let stores = Stores::open(data_folder::hold(&new).unwrap(), &to).await.unwrap();
    let login = stores.directory.login("alice@example.org", "secret words").await;
    assert!(login.unwrap().is_some());
}

#[tokio::test]
async fn nothing_is_overwritten_neither_by_a_backup_nor_by_a_restore() {
    let folder = tempfile::tempdir().unwrap();
    let config = filled(&folder.path().join("data")).await;
    let file = folder.path().join("backup.tar");
    backup(&config, &file, NOW).unwrap();
    let again = backup(&config, &file, NOW).unwrap_err().to_string();
    assert!(again.contains("is there already"), "{again}");
    let into = restore(&config, &file).await.unwrap_err().to_string();
    assert!(into.contains("expected an empty folder"), "{into}");
}

#[tokio::test]
async fn a_backup_that_was_cut_off_or_changed_is_refused_and_leaves_an_empty_folder() {
    let folder = tempfile::tempdir().unwrap();
    let from = filled(&folder.path().join("data")).await;
    let whole = folder.path().join("whole.tar");
    backup(&from, &whole, NOW).unwrap();
    let bytes = fs::read(&whole).unwrap();
    let mut changed = bytes.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    let bad = folder.path().join("bad.tar");
    for damaged in [
        &bytes[..bytes.len() / 2],
        &bytes[..bytes.len() - 4096],
        &changed,
        b"text",
    ] {
        fs::write(&bad, damaged).unwrap();
        let new = folder.path().join("new");
        restore(&config(&new), &bad).await.unwrap_err();
        let left: Vec<_> = fs::read_dir(&new)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(left.iter().all(|name| name == DataFolder::LOCK), "{left:?}");
        restore(&config(&new), &whole).await.unwrap();
        fs::remove_dir_all(&new).unwrap();
    }
}

#[tokio::test]
async fn a_restore_that_was_stopped_is_no_data_folder_and_can_be_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let from = filled(&folder.path().join("data")).await;
    let (file, _) = backup(&from, folder.path(), NOW).unwrap();
    let new = folder.path().join("new");
    fs::create_dir_all(new.join(restore::UNPACKED)).unwrap();
    fs::write(new.join("store.db"), "half").unwrap();
    let config = config(&new);
    let held = data_folder::hold(&new).unwrap();
    let refused = Stores::open(held, &config).await.err().unwrap().to_string();
    assert!(refused.contains("ringpost restore"), "{refused}");
    assert!(backup(&config, &folder.path().join("b"), NOW).is_err());
    restore(&config, &file).await.unwrap();
    assert!(!is_unfinished(&new));
}

#[tokio::test]
async fn names_that_lead_out_of_the_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("evil.tar");
    fs::write(folder.path().join("x"), "x").unwrap();
    let mut writer = Writer::new(File::create(&file).unwrap()).unwrap();
    writer.file("store.db", &folder.path().join("x")).unwrap();
    writer.finish().unwrap();
    // The library refuses to write such a name, so it is put in afterwards, with the header's sum.
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(8).position(|w| w == b"store.db").unwrap();
    bytes[at..at + 8].copy_from_slice(b"../e.txt");
    let header = &mut bytes[at..at + 512];
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    fs::write(&file, bytes).unwrap();
    let error = restore(&config(&folder.path().join("new")), &file)
        .await
        .unwrap_err();
    assert!(format!("{error:#}").contains("leads out"), "{error:#}");
    assert!(!folder.path().join("e.txt").exists());
}

#[tokio::test]
async fn a_second_backup_at_the_same_time_is_told_so_and_what_a_killed_one_left_goes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config = filled(&data).await;
    let held = Links::hold(&data).unwrap();
    let refused = backup(&config, &folder.path().join("b.tar"), NOW).unwrap_err();
    assert!(refused.to_string().contains("under way"), "{refused}");
    clear_left_behind(&data).unwrap();
    assert!(data.join(LINKS).exists(), "it is in use");
    drop(held);
    fs::create_dir(data.join(LINKS)).unwrap();
    clear_left_behind(&data).unwrap();
    assert!(!data.join(LINKS).exists());
}
