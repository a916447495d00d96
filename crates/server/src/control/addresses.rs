//! Aliases, forwards and catch-alls.

use super::LocalControl;
use ringpost_admin::{Alias, Answer, Command, DomainSettings, Forward};
use ringpost_base::ascii_domain;
use ringpost_directory::DirectoryError;

impl LocalControl {
    pub(super) async fn addresses(&self, command: Command) -> Result<Answer, DirectoryError> {
        let directory = &self.directory;
        match command {
            Command::DomainSet { name, catch_all } => {
                if let Some(to) = catch_all {
                    let to = Some(to.as_str()).filter(|to| *to != "none");
                    directory.set_catch_all(&name, to).await?;
                }
                Ok(Answer::Domain(DomainSettings {
                    catch_all: directory.catch_all(&name).await?,
                    name: ascii_domain(&name).unwrap_or_default().into_owned(),
                }))
            }
            Command::AliasAdd { alias, targets } => {
                directory.add_alias(&alias, &targets, self.now()).await?;
                Ok(Answer::Done)
            }
            Command::AliasRemove { alias, targets } => {
                directory.remove_alias(&alias, &targets, self.now()).await?;
                Ok(Answer::Done)
            }
            Command::AccountForward {
                address,
                to,
                keep_copy,
            } => {
                let forward = match to {
                    Some(to) => directory.set_forward(&address, &to, keep_copy).await?,
                    None => directory.forward(&address).await?,
                };
                Ok(Answer::Forward(Forward {
                    address,
                    to: forward.to,
                    keeps_copy: forward.keeps_copy,
                }))
            }
            Command::AliasList { domain: Some(domain) } => Ok(Answer::Aliases(self.aliases(&domain).await?)),
            _ => {
                let mut all = Vec::new();
                for domain in directory.domains() {
                    all.extend(self.aliases(&domain).await?);
                }
                Ok(Answer::Aliases(all))
            }
        }
    }

    async fn aliases(&self, domain: &str) -> Result<Vec<Alias>, DirectoryError> {
        let aliases = self.directory.aliases(domain).await?.into_iter();
        let shown = aliases.map(|alias| Alias {
            address: alias.address,
            targets: alias.targets,
        });
        Ok(shown.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::control;
    use super::*;
    use ringpost_admin::Control;

    #[tokio::test]
    async fn addresses_are_led_to_others_shown_and_led_no_more() {
        let control = control().await;
        let add = Command::AccountAdd {
            address: "alice@example.org".into(),
            extension: None,
            password: None,
        };
        control.handle(add).await.unwrap();
        let alias = "team@example.org".to_owned();
        let targets = vec!["alice@example.org".to_owned(), "x@else.test".to_owned()];
        let add = Command::AliasAdd {
            alias: alias.clone(),
            targets: targets.clone(),
        };
        assert_eq!(control.handle(add).await, Ok(Answer::Done));
        let shown = Alias {
            address: alias.clone(),
            targets,
        };
        for domain in [None, Some("example.org".into())] {
            let list = Command::AliasList { domain };
            assert_eq!(
                control.handle(list).await,
                Ok(Answer::Aliases(vec![shown.clone()]))
            );
        }
        let remove = |targets: &[&str]| Command::AliasRemove {
            alias: alias.clone(),
            targets: targets.iter().map(|t| (*t).to_owned()).collect(),
        };
        assert_eq!(control.handle(remove(&["x@else.test"])).await, Ok(Answer::Done));
        let gone = control.handle(remove(&["x@else.test"])).await.unwrap_err();
        assert_eq!(
            gone.message,
            "there is no alias team@example.org that leads to x@else.test; `ringpost alias list` shows them"
        );
        assert_eq!(control.handle(remove(&[])).await, Ok(Answer::Done));

        let forward = |to: Option<&[&str]>, keep_copy| Command::AccountForward {
            address: "alice@example.org".into(),
            to: to.map(|to| to.iter().map(|t| (*t).to_owned()).collect()),
            keep_copy,
        };
        for (command, to, keeps_copy) in [
            (forward(None, true), vec![], true),
            (
                forward(Some(&["x@else.test"]), false),
                vec!["x@else.test".to_owned()],
                false,
            ),
            (forward(None, true), vec!["x@else.test".to_owned()], false),
            (forward(Some(&[]), true), vec![], true),
        ] {
            let shown = Forward {
                address: "alice@example.org".into(),
                to,
                keeps_copy,
            };
            assert_eq!(control.handle(command).await, Ok(Answer::Forward(shown)));
        }

        let set = |catch_all: Option<&str>| Command::DomainSet {
            name: "Example.org".into(),
            catch_all: catch_all.map(str::to_owned),
        };
        for (command, catch_all) in [
            (set(None), None),
            (
                set(Some("alice@example.org")),
                Some("alice@example.org".to_owned()),
            ),
            (set(None), Some("alice@example.org".to_owned())),
            (set(Some("none")), None),
        ] {
            let shown = DomainSettings {
                name: "example.org".into(),
                catch_all,
            };
            assert_eq!(control.handle(command).await, Ok(Answer::Domain(shown)));
        }
    }
}
