//! Settings that cannot all be true: what others are told, where we listen, where the seeds are.

use std::net::{IpAddr, SocketAddr};

use super::Advertise;
use crate::daemon::seeds;

/// Why no other host could reach this agent with these settings.
pub(crate) fn impossible(rule: Option<&Advertise>, bind: SocketAddr, seeds: &[String]) -> Option<String> {
    let rule = rule?;
    let (ip, wildcard) = (bind.ip(), bind.ip().is_unspecified());
    let told = match rule {
        Advertise::Interface(_) if !wildcard => {
            return Some(format!(
                "an interface, but bind names one address, {ip}; leave it out, or bind [::]"
            ));
        }
        Advertise::Network(network) if !wildcard && !network.contains(&ip) => {
            return Some(format!("{network}, but bind names one address, {ip}, which is not in it"));
        }
        Advertise::Interface(_) => return None,
        Advertise::Network(network) => network.addr(),
        Advertise::Address(at) => at.ip(),
    };
    if told.is_ipv6() && ip.is_ipv4() {
        return Some(format!("an IPv6 address, but bind is IPv4 ({bind}); bind [::] for both"));
    }
    if told.is_ipv4() && ip.is_ipv6() && !wildcard {
        return Some(format!("an IPv4 address, but bind is IPv6 ({bind}); bind [::] for both"));
    }
    if !told.is_loopback() {
        return None;
    }
    if !wildcard && !ip.is_loopback() {
        return Some(format!("a loopback address, but bind is {bind}, where nothing comes from it"));
    }
    let elsewhere = seeds.iter().find(|seed| !seeds::is_written_as_loopback(seed));
    elsewhere.map(|seed| {
        format!("a loopback address, which means every other host itself, but a seed is elsewhere ({seed})")
    })
}

/// What is allowed, and most likely not meant.
pub(crate) fn unwise(bind: SocketAddr, seeds: &[String]) -> Option<String> {
    let literal = |seed: &String| {
        let (host, _) = seeds::host_and_port(seed).ok()?;
        host.parse::<IpAddr>().ok().filter(|ip| !ip.is_loopback())
    };
    let elsewhere = seeds.iter().find_map(literal).filter(|_| bind.ip().is_loopback())?;
    Some(format!("bind is a loopback address ({bind}): nothing can be sent to the seed {elsewhere}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(rule: &str, bind: &str, seeds: &[&str]) -> Option<String> {
        let seeds: Vec<String> = seeds.iter().map(|&seed| seed.to_owned()).collect();
        impossible(Some(&rule.parse().unwrap()), bind.parse().unwrap(), &seeds)
    }

    #[test]
    fn pairs_with_which_no_agent_could_be_reached_are_named() {
        for (rule, bind, seeds) in [
            ("127.0.0.1", "0.0.0.0:1", &["10.0.0.1"][..]),
            ("127.0.0.1", "[::]:1", &["127.0.0.1", "db-1"]),
            ("127.0.0.1", "10.0.0.1:1", &[]),
            ("2001:db8::1", "0.0.0.0:1", &[]),
            ("2001:db8::/32", "0.0.0.0:1", &[]),
            ("10.0.0.1", "[2001:db8::1]:1", &[]),
            ("eth0", "10.0.0.1:1", &[]),
            ("10.1.0.0/16", "10.0.0.1:1", &[]),
        ] {
            assert!(said(rule, bind, seeds).is_some(), "{rule} {bind} {seeds:?}");
        }
    }

    #[test]
    fn pairs_that_make_sense_are_left_alone() {
        for (rule, bind, seeds) in [
            ("127.0.0.1", "0.0.0.0:1", &["127.0.0.2:5", "localhost", "[::1]:5"][..]),
            ("127.0.0.1", "127.0.0.1:1", &[]),
            ("192.0.2.1:7", "10.0.0.1:1", &["10.0.0.2"]),
            ("10.0.0.1", "[::]:1", &["db-1"]),
            ("2001:db8::1", "[::]:1", &["db-1"]),
            ("eth0", "[::]:1", &["db-1"]),
            ("10.0.0.0/8", "10.0.0.1:1", &["db-1"]),
        ] {
            assert_eq!(said(rule, bind, seeds), None, "{rule} {bind} {seeds:?}");
        }
        assert_eq!(impossible(None, "0.0.0.0:1".parse().unwrap(), &["db-1".to_owned()]), None);
    }
}
