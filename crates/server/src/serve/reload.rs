//! SIGHUP: what the configuration says now is taken over while calls and sessions go on.
//!
//! A configuration that cannot be read changes nothing. A file that it names and that cannot be read, the certificate or
//! the greeting, leaves its old self in use. What only a start can change is named.

use super::{Server, acme, connection_limits, files, phone_config};
use crate::config::{Config, Service};
use anyhow::Result;
use ringpost_acme::Folder;
use ringpost_node::phone::PhoneControl;
use std::path::Path;
use std::sync::PoisonError;
use tracing::{info, warn};

impl Server {
    /// Takes over what can change while calls go on.
    pub(super) async fn reload(&mut self, file: Option<&Path>) {
        let config = match Config::load(file) {
            Ok(config) => config,
            Err(error) => return warn!(%error, "not reloaded; all stays as it was"),
        };
        let wait = at_the_next_start(&self.started, &config);
        if !wait.is_empty() {
            warn!(keys = %wait.join(", "), "changed, and in force at the next start only");
        }
        if let Err(error) = self.reload_certificate(&config) {
            warn!(error = %crate::one_line(&error), "the old certificate stays in use");
        }
        let authorities = self.authorities.reload(config.tls.authorities.as_deref());
        if let Err(error) = authorities.map_err(files::wrong_authorities) {
            warn!(error = %crate::one_line(&error), "the old authorities stay in use");
        }
        match files::anchors(&config) {
            Ok(anchors) => self.resolver.reload(config.dns.servers.clone(), anchors).await,
            Err(error) => warn!(error = %crate::one_line(&error), "the DNS is asked as before"),
        }
        match files::greeting(&config) {
            Ok(greeting) => self.voicemail.set_greeting(greeting),
            Err(error) => warn!(error = %crate::one_line(&error), "the old greeting stays in use"),
        }
        self.places.set_limits(connection_limits(&config, self.files));
        self.mail_limits.set(&config);
        self.senders.set(&config);
        self.streaming.set(&config).await;
        let ports = config.media.ports.first..=config.media.ports.last;
        self.media.handle().set_ports(ports);
        self.signalling.set_public_address(config.public_address);
        self.add_domains(&config).await;
        self.sign();
        let phone = phone_config(&config, &self.directory, &self.addresses);
        let level = config.log.level.clone();
        let authority = acme::settings(&config);
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
        let configure = PhoneControl::Configure(Box::new(phone));
        self.reload_authority(authority);
        // It has ended if nobody takes it.
        let _ = self.signalling.control.send(configure).await;
        info!("configuration read again");
        if let Err(error) = crate::logging::set_level(&level) {
            warn!(%error, "the level of the log stays as it was");
        }
    }

    /// Who gives certificates is asked by the new configuration, which is taken over already.
    fn reload_authority(&self, settings: Result<Option<ringpost_acme::Settings>>) {
        let Some(asked) = &self.asked else { return };
        let reloaded = settings.and_then(|settings| asked.set(&self.config, settings));
        if let Err(error) = reloaded {
            warn!(error = %crate::one_line(&error), "certificates are asked for as before");
        }
    }

    fn reload_certificate(&self, config: &Config) -> Result<()> {
        let is_kept = config.acme.enabled && Folder::of(self.stores.path()).certificate().exists();
        if self.asked.is_some() && is_kept {
            // Its task shows it: here it might be one that has been renewed meanwhile.
            return Ok(());
        }
        if !files::reload_certificate(config, &self.tls)? {
            self.tls.show(acme::pair(config, self.stores.path())?);
        }
        Ok(())
    }

    /// Domains that the configuration names and that do not exist yet. One that it names no more stays, with its people.
    async fn add_domains(&self, config: &Config) {
        for domain in &config.domains {
            if !self.directory.is_local(domain)
                && let Err(error) = self.directory.add_domain(domain, self.control.now()).await
            {
                warn!(%domain, %error, "the domain is not added");
            }
        }
    }
}

/// The keys whose new values cannot be taken over while the server runs.
fn at_the_next_start(started: &Config, config: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    if started.data_folder() != config.data_folder() {
        keys.push("data".into());
    }
    if started.user != config.user {
        keys.push("user".into());
    }
    if started.first_domains()[0] != config.first_domains()[0] {
        keys.push("domains (the first one)".into());
    }
    if started.acme.enabled != config.acme.enabled {
        keys.push("acme.enabled".into());
    }
    if started.acme.challenge != config.acme.challenge {
        keys.push("acme.challenge".into());
    }
    if started.outbound != config.outbound {
        keys.push("outbound".into());
    }
    if started.streams.vacancy_s != config.streams.vacancy_s {
        keys.push("streams.vacancy_s".into());
    }
    let (old, new) = (&started.streams, &config.streams);
    for (key, is_changed) in [
        ("multicast_range", old.multicast_range != new.multicast_range),
        ("multicast_port", old.multicast_port != new.multicast_port),
        (
            "multicast_interface",
            old.multicast_interface != new.multicast_interface,
        ),
        ("sap", old.sap != new.sap),
    ] {
        if is_changed {
            keys.push(format!("streams.{key}"));
        }
    }
    if started.listen.lmtp_socket != config.listen.lmtp_socket {
        keys.push("listen.lmtp_socket".into());
    }
    for service in Service::ALL {
        if started.listener(service) != config.listener(service) {
            keys.push(service.setting());
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::REFERENCE;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("ringpost.toml")).unwrap()
    }

    #[test]
    fn what_only_a_start_can_change_is_named() {
        let started = config("domains = [\"one.test\"]\n");
        assert_eq!(at_the_next_start(&started, &started), [""; 0]);
        let changed = config(
            "data = \"/elsewhere\"\nuser = \"x\"\ndomains = [\"two.test\", \"one.test\"]\n\
             [listen]\nimap = \"off\"\nmetrics = \"127.0.0.1:1\"\n[limits]\ncalls = 1\n\
             [outbound]\nmax_age_h = 1\n[streams]\nsap = true\nmulticast_port = 6000\n[acme]\nenabled = true\nagree_to_terms = true\nchallenge = \"tls-alpn-01\"\n",
        );
        assert_eq!(
            at_the_next_start(&started, &changed),
            [
                "data",
                "user",
                "domains (the first one)",
                "acme.enabled",
                "acme.challenge",
                "outbound",
                "streams.multicast_port",
                "streams.sap",
                "listen.imap",
                "acme.listen",
                "listen.metrics"
            ]
        );
        let more = config("domains = [\"one.test\", \"two.test\"]\n[log]\nlevel = \"warn\"\n");
        assert_eq!(at_the_next_start(&started, &more), [""; 0]);
    }

    #[test]
    fn the_reference_marks_the_keys_that_wait_for_a_start() {
        let mut marked = Vec::new();
        let mut comment = String::new();
        for line in REFERENCE.lines() {
            let key = line.trim_start_matches("# ").split([' ', ']']).next().unwrap();
            let is_key = line.starts_with('[') || line.contains(" = ");
            if is_key && comment.contains(" next start.") {
                marked.push(key.trim_start_matches('[').to_owned());
            }
            match line.strip_prefix('#').filter(|_| !is_key) {
                Some(words) => comment += words,
                None => comment.clear(),
            }
        }
        assert_eq!(
            marked,
            [
                "data",
                "user",
                "domains",
                "listen",
                "enabled",
                "challenge",
                "listen",
                "outbound",
                "vacancy_s",
                "multicast_range",
                "multicast_port",
                "multicast_interface",
                "sap",
            ]
        );
    }
}
