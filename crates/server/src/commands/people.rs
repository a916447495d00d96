//! Domains, accounts and devices: by whoever holds the data folder, a running server or this process.

use crate::cli::{AccountCommand, DeviceCommand, DomainCommand};
use anyhow::{Result, bail};
use ringpost_admin::{Answer, Command, Control, NewAccount};
use std::io::BufRead;

/// The longest password that is taken from the standard input.
const PASSWORD_BYTES: usize = 1024;

/// `domain …`.
pub(crate) async fn domain(control: &dyn Control, command: DomainCommand) -> Result<()> {
    match command {
        DomainCommand::Add { name } => show(control, Command::DomainAdd { name }).await,
        DomainCommand::List => show(control, Command::DomainList).await,
    }
}

/// `account …`.
pub(crate) async fn account(control: &dyn Control, command: AccountCommand) -> Result<()> {
    let command = match command {
        AccountCommand::Add {
            address,
            extension,
            password_stdin,
        } => Command::AccountAdd {
            address,
            extension,
            password: read_password(password_stdin)?,
        },
        AccountCommand::List => Command::AccountList,
        AccountCommand::Passwd {
            address,
            password_stdin,
        } => Command::AccountPassword {
            address,
            password: read_password(password_stdin)?,
        },
        AccountCommand::Remove { address } => Command::AccountRemove { address },
    };
    show(control, command).await
}

/// `device …`.
pub(crate) async fn device(control: &dyn Control, command: DeviceCommand) -> Result<()> {
    let command = match command {
        DeviceCommand::Add { address, name } => Command::DeviceAdd { address, name },
        DeviceCommand::List { address } => Command::DeviceList { address },
        DeviceCommand::Remove { address, name } => Command::DeviceRemove { address, name },
    };
    show(control, command).await
}

/// `check-store`. Fails when something was found.
pub(crate) async fn check_store(control: &dyn Control) -> Result<()> {
    show(control, Command::CheckStore).await
}

async fn show(control: &dyn Control, command: Command) -> Result<()> {
    let answer = control.handle(command).await?;
    print!("{}", text(&answer));
    match answer {
        Answer::Findings(findings) if !findings.is_empty() => {
            bail!("the store contradicts itself, see above")
        }
        _ => Ok(()),
    }
}

/// An answer as people and scripts read it: a line a thing, fields parted by tabs.
fn text(answer: &Answer) -> String {
    let lines: Vec<String> = match answer {
        Answer::Done => vec!["done".into()],
        Answer::Domains(domains) => domains.clone(),
        Answer::Accounts(accounts) => accounts
            .iter()
            .map(|account| {
                let extension = account.extension.as_deref().unwrap_or("-");
                format!("{}\t{extension}\t{} devices", account.address, account.devices)
            })
            .collect(),
        Answer::AccountCreated(account) => created(account),
        Answer::Devices(devices) => devices
            .iter()
            .map(|device| format!("{}\t{}", device.name, device.username))
            .collect(),
        Answer::DeviceCreated(device) => vec![
            format!("device\t{}", device.name),
            format!("username\t{}", device.username),
            format!("domain\t{}", device.domain),
            format!("secret\t{}\t(shown this once)", device.secret),
        ],
        Answer::Findings(findings) if findings.is_empty() => vec!["the store is good".into()],
        Answer::Findings(findings) => findings.clone(),
    };
    lines.into_iter().map(|line| line + "\n").collect()
}

fn created(account: &NewAccount) -> Vec<String> {
    let mut lines = vec![format!("account\t{}", account.address)];
    lines.extend(
        account
            .extension
            .as_ref()
            .map(|extension| format!("extension\t{extension}")),
    );
    lines.extend(
        account
            .password
            .as_ref()
            .map(|password| format!("password\t{password}\t(shown this once)")),
    );
    lines
}

fn read_password(from_stdin: bool) -> Result<Option<String>> {
    if !from_stdin {
        return Ok(None);
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.len() > PASSWORD_BYTES {
        bail!("the standard input's first line must be the password, 1 to {PASSWORD_BYTES} bytes");
    }
    Ok(Some(password.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_admin::{Account, NewDevice};

    #[test]
    fn answers_are_lines_that_a_script_can_cut() {
        let account = Account {
            address: "alice@example.org".into(),
            extension: Some("11".into()),
            devices: 2,
        };
        assert_eq!(
            text(&Answer::Accounts(vec![account])),
            "alice@example.org\t11\t2 devices\n"
        );
        let device = NewDevice {
            name: "desk".into(),
            username: "alice".into(),
            domain: "example.org".into(),
            secret: "s3cret".into(),
        };
        let shown = text(&Answer::DeviceCreated(device));
        assert!(
            shown
                .lines()
                .any(|line| line.split('\t').nth(1) == Some("s3cret")),
            "{shown}"
        );
        assert_eq!(text(&Answer::Findings(Vec::new())), "the store is good\n");
    }
}
