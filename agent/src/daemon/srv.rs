//! Seeds that are services: where the members are, host and port, is in SRV records (RFC 2782).
//!
//! Nothing of the resolver is there before such a seed is asked, and nothing stays: each question reads /etc/resolv.conf
//! anew. The hosts that it names are then looked up like any other.

use std::collections::HashSet;
use std::net::SocketAddr;

use domain::base::Name;
use domain::base::name::RelativeName;
use domain::resolv::StubResolver;
use futures_util::future::join_all;

/// Whether a seed is the name of a service.
pub(crate) fn is_service(host: &str) -> bool {
    host.starts_with('_')
}

/// `_heartsay._udp`, and `example.org`.
type Service = (RelativeName<Vec<u8>>, Name<Vec<u8>>);

/// The service with its protocol, and the domain.
///
/// # Errors
/// It is not of this form.
pub(crate) fn split(name: &str) -> Result<Service, String> {
    let wrong = || "is not a service such as _heartsay._udp.example.org".to_owned();
    let (service, rest) = name.split_once('.').ok_or_else(wrong)?;
    let (protocol, domain) =
        rest.split_once('.').filter(|(protocol, _)| is_service(protocol)).ok_or_else(wrong)?;
    let service = RelativeName::vec_from_str(&format!("{service}.{protocol}")).map_err(|_| wrong())?;
    let domain = Some(domain).filter(|domain| !domain.trim_end_matches('.').is_empty()).ok_or_else(wrong)?;
    Ok((service, Name::vec_from_str(domain).map_err(|_| wrong())?))
}

/// The addresses behind a service: the lowest priority first, and of one priority those with more weight more
/// likely before the others.
///
/// # Errors
/// What the name server said, or that none of the hosts has an address.
pub(crate) async fn lookup(name: &str) -> Result<Vec<SocketAddr>, String> {
    let (service, domain) = split(name)?;
    let found =
        StubResolver::new().lookup_srv(service, domain, NO_RECORDS).await.map_err(|e| e.to_string())?;
    let records = found.ok_or_else(|| "the service is not available there, says its record".to_owned())?;
    let hosts: Vec<(String, u16)> = records
        .into_srvs()
        .map(|record| (record.target().to_string(), record.port()))
        .filter(|(_, port)| *port != NO_RECORDS)
        .take(MOST)
        .collect();
    if hosts.is_empty() {
        return Err("the name has no SRV records".to_owned());
    }
    let lookups =
        hosts.iter().map(async |(host, port)| tokio::net::lookup_host((host.as_str(), *port)).await);
    let (mut addresses, mut seen, mut failed) = (Vec::new(), HashSet::new(), None);
    for (result, (host, _)) in join_all(lookups).await.into_iter().zip(&hosts) {
        match result {
            Ok(found) => addresses.extend(found.filter(|at| seen.insert(*at))),
            Err(e) => failed = Some(format!("{host}: {e}")),
        }
    }
    match failed {
        Some(error) if addresses.is_empty() => Err(error),
        _ => Ok(addresses),
    }
}

/// What the resolver puts in the place of a port where it finds no records; as a port it is of no use to us.
const NO_RECORDS: u16 = 0;
/// More hosts than a service needs to be found; each is looked up.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_a_service_a_protocol_and_a_domain() {
        let (service, domain) = split("_heartsay._udp.example.org").unwrap();
        assert_eq!(
            (service.to_string().as_str(), domain.to_string().as_str()),
            ("_heartsay._udp", "example.org")
        );
        assert!(split("_heartsay._udp.example.org.").is_ok());
        for bad in
            ["_heartsay", "_heartsay._udp", "_heartsay._udp.", "_heartsay.example.org", "_heartsay._udp..org"]
        {
            assert!(split(bad).is_err(), "{bad}");
        }
        assert!(!is_service("heartsay._udp.example.org"));
    }
}
