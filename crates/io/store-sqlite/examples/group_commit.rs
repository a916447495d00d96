//! How many durable deliveries a second the store takes, with one submitter and with many, beside the disk's own syncs.
//!
//! `cargo run --release -p ringpost-store-sqlite --example group_commit [FOLDER]` measures in a new folder under FOLDER, or
//! under the working directory.

use ringpost_base::{Rng, UnixTime};
use ringpost_store::conformance::block_on;
use ringpost_store::mailbox::{self, MailBatch};
use ringpost_store::records::{Binding, Bindings, Flags, Mailbox, MailboxId, Message};
use ringpost_store::{AccountId, Batch, BindingsJournal, Bodies, MemoryBlobs, Partition, Store, keys};
use ringpost_store_sqlite::{DataFolder, SqliteStore};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const ACCOUNTS: u64 = 64;
const BODY_BYTES: usize = 4096;
const RUN: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let above = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let folder = Path::new(&above).join(format!("group-commit-{}", std::process::id()));
    let data = DataFolder::open(&folder)?;
    let measured = measure(&data);
    drop(data);
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn measure(data: &DataFolder) -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "syncs of 4 KiB appended to a file: {:.0}/s",
        bare_syncs(data.path())?
    );
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(data)?);
    let inboxes: Vec<Mailbox> = (0..ACCOUNTS)
        .map(|n| make_inbox(&*store, AccountId(n)))
        .collect::<Result<_, _>>()?;
    for (submitters, one_account) in [(1, false), (8, false), (16, false), (64, false), (64, true)] {
        let (cpu, start) = (cpu_time(), Instant::now());
        let threads: Vec<_> = (0..submitters)
            .map(|n| {
                let account = if one_account { 0 } else { n % ACCOUNTS };
                let (store, inbox) = (store.clone(), inboxes[account as usize].clone());
                thread::spawn(move || deliver(store, AccountId(account), inbox, n))
            })
            .collect();
        let mut delivered = 0;
        for thread in threads {
            delivered += thread.join().map_err(|_| "a submitter panicked")??;
        }
        let s = start.elapsed().as_secs_f64();
        let cpu_ms = (cpu_time() - cpu).as_secs_f64() * 1000.0;
        let whom = if one_account {
            "one account"
        } else {
            "an account each"
        };
        let (rate, cost) = (delivered as f64 / s, cpu_ms / delivered as f64);
        println!("{submitters:3} submitters, {whom}: {rate:.0} deliveries/s, {cost:.2} ms of CPU each");
    }
    save_bindings(store)
}

/// What 10,000 phones cost that register anew every minute, saved every 2 s.
fn save_bindings(store: Arc<dyn Store>) -> Result<(), Box<dyn std::error::Error>> {
    const PHONES: u64 = 10_000;
    let journal = BindingsJournal::new(store);
    let of = |n: u64| Bindings {
        account: AccountId(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        address: format!("user{n}@example.org"),
        bindings: vec![Binding {
            contact: format!("sip:user{n}@192.0.2.7:5060;ob"),
            call_id: format!("{n}-4cf2b6a1d3@192.0.2.7"),
            remote: "192.0.2.7:5060".into(),
            expires: UnixTime::from_secs(1),
            ..Binding::default()
        }],
    };
    let (cpu, start) = (cpu_time(), Instant::now());
    for second in 0..30 {
        let changed: Vec<Bindings> = (0..PHONES).filter(|n| n % 30 == second).map(of).collect();
        block_on(journal.save(&changed))?;
    }
    let (cpu, s) = ((cpu_time() - cpu).as_secs_f64(), start.elapsed().as_secs_f64());
    println!("bindings of {PHONES} phones: {s:.2} s, {cpu:.2} s of CPU for each minute");
    let start = Instant::now();
    let loaded = block_on(journal.load(Default::default()))?.len();
    println!(
        "{loaded} accounts' bindings loaded in {:.0} ms",
        start.elapsed().as_secs_f64() * 1000.0
    );
    Ok(())
}

/// Delivers messages, each durable before the next, until the time is over.
fn deliver(store: Arc<dyn Store>, account: AccountId, inbox: Mailbox, n: u64) -> Result<u64, String> {
    let blobs = Arc::new(MemoryBlobs::new(Default::default));
    let bodies = Bodies::new(store.clone(), blobs, Rng::from_number(n));
    let start = Instant::now();
    let mut delivered = 0;
    while start.elapsed() < RUN {
        let done = block_on(async {
            let body = bodies
                .store_bytes(vec![b'x'; BODY_BYTES].into())
                .await
                .map_err(|e| e.to_string())?;
            let message = Message {
                blob: body.id,
                size_bytes: BODY_BYTES as u64,
                envelope: vec![b'e'; 300].into(),
                structure: vec![b's'; 150].into(),
                ..Message::default()
            };
            let mut batch = MailBatch::new(account, Default::default());
            batch.add(&inbox, &message, Flags::NONE, Default::default(), &body);
            store
                .commit_durable(batch.finish())
                .await
                .map_err(|e| e.to_string())
        });
        done?;
        delivered += 1;
    }
    Ok(delivered)
}

fn make_inbox(store: &dyn Store, account: AccountId) -> Result<Mailbox, Box<dyn std::error::Error>> {
    let mut batch = Batch::new(Partition::Account(account));
    mailbox::create(
        &mut batch,
        &Mailbox {
            name: "INBOX".into(),
            ..Mailbox::default()
        },
    );
    block_on(store.commit_durable(batch))?;
    let read = block_on(store.record(&Partition::Account(account), keys::mailbox(MailboxId(1))))?;
    Ok(read.ok_or("no inbox")?.record)
}

fn bare_syncs(folder: &Path) -> std::io::Result<f64> {
    let mut file = File::create(folder.join("syncs"))?;
    let (start, mut syncs) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(2) {
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        syncs += 1;
    }
    Ok(f64::from(syncs) / start.elapsed().as_secs_f64())
}

/// The process's CPU time so far.
fn cpu_time() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock exists on every Linux, and `now` is a place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
