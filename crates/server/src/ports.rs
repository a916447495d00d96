//! Which addresses are opened, and what is said when one is not to be had.

use crate::config::{Listener, Service};
use std::io;
use std::net::SocketAddr;

/// Why a service does not listen: one line that names the key and the mend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortError {
    #[error("{}: {address} is taken by another program; stop that one, or set {}", .service.setting(), others(*.service))]
    Taken { service: Service, address: SocketAddr },
    #[error(
        "{}: {address} is denied: {}", .service.setting(), ways(*.service, .address.port())
    )]
    Denied { service: Service, address: SocketAddr },
    #[error(
        "{}: {address} is denied, and {instead}, which is taken instead, cannot be had: {reason}; set another \
         address or \"off\", or the right: {}", .service.setting(), ways(*.service, .address.port())
    )]
    NeitherOf {
        service: Service,
        address: SocketAddr,
        instead: SocketAddr,
        reason: io::Error,
    },
    #[error("{}: {address}: {reason}; set an address of this machine{}", .service.setting(), off(*.service))]
    Other {
        service: Service,
        address: SocketAddr,
        reason: io::Error,
    },
}

/// What was opened for one service.
#[derive(Debug)]
pub(crate) struct Opened<T> {
    pub(crate) sockets: Vec<T>,
    /// A line for the log: the port that was taken in place of a denied one.
    pub(crate) notice: Option<String>,
}

/// Opens the addresses of a service with `open`.
///
/// A service that is left at its default takes its unprivileged port when the usual one is denied, and does without
/// IPv6 on a machine that has none; an address that was set is opened as it is or not at all.
pub(crate) fn open<T>(
    service: Service,
    listener: &Listener,
    mut open: impl FnMut(SocketAddr) -> io::Result<T>,
) -> Result<Opened<T>, PortError> {
    let is_default = service.is_default(listener);
    let mut opened = Opened {
        sockets: Vec::new(),
        notice: None,
    };
    let mut denied = Vec::new();
    for &address in listener.addresses() {
        match open(address) {
            Ok(socket) => opened.sockets.push(socket),
            Err(error) if is_default && address.is_ipv6() && has_no_such_family(&error) => {}
            Err(error)
                if is_default
                    && service != Service::Acme
                    && error.kind() == io::ErrorKind::PermissionDenied =>
            {
                let instead = SocketAddr::new(address.ip(), service.ports().1);
                let socket = open(instead).map_err(|reason| PortError::NeitherOf {
                    service,
                    address,
                    instead,
                    reason,
                })?;
                opened.sockets.push(socket);
                denied.push(address.to_string());
            }
            Err(error) => return Err(port_error(service, address, error)),
        }
    }
    if !denied.is_empty() {
        let (denied, (port, instead)) = (denied.join(" and "), service.ports());
        let (setting, ways) = (service.setting(), ways(service, port));
        opened.notice = Some(format!(
            "{setting}: denied: {denied}; port {instead} is taken instead: {ways}"
        ));
    }
    Ok(opened)
}

fn port_error(service: Service, address: SocketAddr, reason: io::Error) -> PortError {
    match reason.kind() {
        io::ErrorKind::AddrInUse => PortError::Taken { service, address },
        io::ErrorKind::PermissionDenied => PortError::Denied { service, address },
        _ => PortError::Other {
            service,
            address,
            reason,
        },
    }
}

fn has_no_such_family(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

/// The ways to a privileged port.
fn ways(service: Service, port: u16) -> String {
    let instead = match service {
        Service::Acme => format!("have port {port} led to another address of this machine and set that"),
        service => format!("use port {}", service.ports().1),
    };
    format!(
        "port {port} wants a right; run under systemd (`ringpost service-unit`), or grant it with \
         `setcap cap_net_bind_service=+ep` on the binary, or {instead}"
    )
}

/// What may be set in place of an address that is taken.
fn others(service: Service) -> &'static str {
    match service {
        Service::Acme => "another address, which whoever has that port leads the authority to",
        _ => "another address or \"off\"",
    }
}

fn off(service: Service) -> &'static str {
    match service {
        Service::Acme => "",
        _ => ", or \"off\"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> io::Error {
        io::Error::from_raw_os_error(libc::EACCES)
    }

    #[test]
    fn a_denied_default_port_gives_way_and_the_line_names_all_three_ways() {
        let listener = Service::Smtp.default_listener();
        let privileged = |address: SocketAddr| {
            if address.port() < 1024 {
                Err(denied())
            } else {
                Ok(address)
            }
        };
        let opened = open(Service::Smtp, &listener, privileged).unwrap();
        assert_eq!(
            opened.sockets,
            ["0.0.0.0:2525".parse().unwrap(), "[::]:2525".parse().unwrap()]
        );
        let notice = opened.notice.expect("a line");
        for word in [
            "listen.smtp",
            "0.0.0.0:25 and [::]:25",
            "2525",
            "systemd",
            "setcap",
        ] {
            assert!(notice.contains(word), "{notice}");
        }
    }

    #[test]
    fn when_the_port_instead_is_taken_too_both_are_named() {
        let listener = Service::Smtp.default_listener();
        let neither = |address: SocketAddr| match address.port() {
            25 => Err::<(), _>(denied()),
            _ => Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
        };
        let error = open(Service::Smtp, &listener, neither).unwrap_err().to_string();
        assert!(
            error.starts_with("listen.smtp: 0.0.0.0:25 is denied, and 0.0.0.0:2525,"),
            "{error}"
        );
        assert!(error.contains("Address already in use"), "{error}");
    }

    #[test]
    fn a_port_that_was_set_is_taken_or_it_is_an_error() {
        let listener = Listener::at(["127.0.0.1:25".parse().unwrap()]);
        let error = open::<()>(Service::Smtp, &listener, |_| Err(denied()))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("listen.smtp: 127.0.0.1:25 is denied"),
            "{error}"
        );
        assert!(error.contains("2525") && error.contains("setcap"), "{error}");
        let taken = || io::Error::from_raw_os_error(libc::EADDRINUSE);
        let error = open::<()>(Service::Smtp, &listener, |_| Err(taken()))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("listen.smtp: 127.0.0.1:25 is taken by another program"),
            "{error}"
        );
    }

    #[test]
    fn an_authority_asks_at_no_other_port_so_none_is_taken_instead() {
        let listener = Listener::everywhere(443);
        let error = open::<()>(Service::Acme, &listener, |_| Err(denied()))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("acme.listen: 0.0.0.0:443 is denied: port 443 wants a right"),
            "{error}"
        );
        assert!(error.contains("have port 443 led to another address"), "{error}");
        let taken = || io::Error::from_raw_os_error(libc::EADDRINUSE);
        let error = open::<()>(Service::Acme, &listener, |_| Err(taken()))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("is taken by another program") && !error.contains("off"),
            "{error}"
        );
    }

    #[test]
    fn a_machine_without_ipv6_is_served_over_ipv4() {
        let listener = Service::SipUdp.default_listener();
        let no_ipv6 = |address: SocketAddr| match address {
            SocketAddr::V4(_) => Ok(address),
            SocketAddr::V6(_) => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
        };
        assert_eq!(
            open(Service::SipUdp, &listener, no_ipv6).unwrap().sockets.len(),
            1
        );
        let wanted = Listener::at(["[::]:5060".parse().unwrap()]);
        assert!(matches!(
            open(Service::SipUdp, &wanted, no_ipv6),
            Err(PortError::Other { .. })
        ));
    }

    #[test]
    fn off_opens_nothing() {
        let opened = open::<()>(Service::Imap, &Listener::at([]), |_| panic!("nothing to open")).unwrap();
        assert!(opened.sockets.is_empty());
    }
}
