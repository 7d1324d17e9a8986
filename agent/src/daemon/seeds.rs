//! Seeds: names that are resolved again and again. A failure is never fatal.
//!
//! Halves of a cluster that never meet again are the commonest trouble of
//! gossip: a seed that could not be resolved at the start and was forgotten, an
//! address that has moved. So every name is asked again, soon while something is
//! wrong and once a minute when all is well, and what comes of it is shown.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use heartsay_membership::{Command, is_reachable};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tracing::{debug, info, warn};

use crate::chance;
use crate::daemon::advertise::{self, Advertiser, Towards};
use crate::daemon::driver::Request;
use crate::daemon::srv;
use crate::doctor::{Code, Said};
use crate::event_log::EventLog;
use crate::settings::DEFAULT_PORT;
use crate::types;
use crate::words;
use heartsay_tokio::{LastGood, Resolved};

/// The configured seeds and what came of them.
#[derive(Debug)]
pub(crate) struct Seeds {
    family: Family,
    shown: Mutex<Vec<types::Seed>>,
    /// They are resolved, and only we are among them.
    only_us: AtomicBool,
    replaced: Notify,
}

/// Address families that our socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
    Both,
}

impl Seeds {
    /// These seeds, for a socket bound to `bind`.
    #[must_use]
    pub(crate) fn new(seeds: &[String], bind: IpAddr) -> Self {
        let family = match bind {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(ip) if ip.is_unspecified() => Family::Both,
            IpAddr::V6(_) => Family::V6,
        };
        let only_us = AtomicBool::new(seeds.is_empty());
        Self { family, shown: Mutex::new(unresolved(seeds)), only_us, replaced: Notify::new() }
    }

    /// Other seeds from now on.
    pub(crate) fn replace(&self, seeds: &[String]) {
        let mut shown = self.shown.lock();
        let before = std::mem::replace(&mut *shown, unresolved(seeds));
        for seed in &mut *shown {
            // What is known of those that stay is known.
            if let Some(known) = before.iter().find(|known| known.name == seed.name) {
                seed.clone_from(known);
            }
        }
        drop(shown);
        self.replaced.notify_one();
    }

    /// There are no seeds, or only we are among them: this agent is the first.
    #[must_use]
    pub(crate) fn are_only_us(&self) -> bool {
        self.only_us.load(Ordering::Relaxed)
    }

    /// Each seed with its last resolution or error.
    #[must_use]
    pub(crate) fn shown(&self) -> Vec<types::Seed> {
        self.shown.lock().clone()
    }

    /// Resolves all of them at the same time, each within [`LOOKUP_LIMIT`].
    pub(crate) async fn resolve(&self, seeds: &[String]) -> Vec<Resolved> {
        join_all(seeds.iter().map(async |seed| (seed.clone(), self.resolve_one(seed).await))).await
    }

    /// Where they are, as far as that is known within [`FIRST_LIMIT`].
    pub(crate) async fn resolve_soon(&self, seeds: &[String]) -> Vec<SocketAddr> {
        let results = tokio::time::timeout(FIRST_LIMIT, self.resolve(seeds)).await.unwrap_or_default();
        results.into_iter().filter_map(|(_, found)| found.ok()).flatten().collect()
    }

    async fn resolve_one(&self, seed: &str) -> Result<Vec<SocketAddr>, String> {
        let (host, port) = host_and_port(seed)?;
        let lookup = async {
            if let Ok(ip) = host.parse::<IpAddr>() {
                Ok(vec![SocketAddr::new(ip, port)])
            } else if srv::is_service(&host) {
                srv::lookup(&host).await
            } else {
                let found = tokio::net::lookup_host((host.as_str(), port)).await;
                // Sorted, so that the same answer looks the same.
                found
                    .map(|found| found.collect::<BTreeSet<_>>().into_iter().collect())
                    .map_err(|e| e.to_string())
            }
        };
        let found = tokio::time::timeout(LOOKUP_LIMIT, lookup)
            .await
            .map_err(|_| format!("no answer within {} s", LOOKUP_LIMIT.as_secs()))??;
        let mut ours: Vec<SocketAddr> = found.iter().copied().filter(|at| self.family.speaks(*at)).collect();
        if self.family == Family::Both && ours.iter().any(|at| advertise::has_route(*at)) {
            // A name often has addresses of both families, and the host a way to one of them only.
            ours.retain(|at| advertise::has_route(*at));
        }
        match (ours.is_empty(), found.is_empty()) {
            (false, _) => Ok(ours),
            (true, true) => Err("the name has no addresses".to_owned()),
            (true, false) => Err("it has addresses only of a family that bind does not speak".to_owned()),
        }
    }

    /// Notes what came of each seed; warns of what is new. Whether all went well.
    fn note(&self, results: &[Resolved], good: &LastGood, event_log: &EventLog) -> bool {
        let mut shown = self.shown.lock();
        // They may have been replaced while these were looked up.
        for seed in &mut *shown {
            let Some((_, result)) = results.iter().find(|(name, _)| *name == seed.name) else { continue };
            // Those of the last good answer stay until there is another.
            if let Ok(addresses) = result {
                seed.addresses = addresses.iter().map(ToString::to_string).collect();
            }
            seed.error = result.as_ref().err().cloned();
        }
        drop(shown);
        for (name, result) in results {
            let sentence = result.as_ref().err().map(|e| {
                let kept = good.of(name).map(kept).unwrap_or_default();
                Said::from(format!("seed {name} cannot be resolved: {e}{kept}"))
            });
            match (event_log.condition_of(Code::SeedsDoNotResolve, name, sentence), result) {
                (true, Err(e)) => {
                    let kept = good.of(name).map(kept).unwrap_or_default();
                    warn!(seed = name, error = e, "a seed cannot be resolved{kept}; trying again for ever");
                }
                (true, Ok(addresses)) => {
                    info!(seed = name, addresses = listed(addresses), "the seed is resolved again");
                }
                (false, _) => {}
            }
        }
        results.iter().all(|(_, result)| result.is_ok())
    }
}

/// Keeps the machine told where the others are and where we are.
pub(crate) struct Keeper {
    /// The seeds.
    pub(crate) seeds: Arc<Seeds>,
    /// Where problems are stated.
    pub(crate) event_log: Arc<EventLog>,
    /// The machine.
    pub(crate) requests: mpsc::Sender<Request>,
    /// Knows at which address others reach us.
    pub(crate) advertise: Advertiser,
    /// Peers of an earlier life.
    pub(crate) remembered: Vec<SocketAddr>,
    /// Whether the others have been found.
    pub(crate) joined: watch::Receiver<bool>,
}

impl Keeper {
    /// Resolves the seeds again and again, and tells the machine whenever their addresses or ours change. Our own addresses
    /// are left out: a name of all members has them too. Ends when the machine has ended.
    pub(crate) async fn keep(mut self) {
        let mut told: Option<BTreeSet<SocketAddr>> = None;
        let mut names: Vec<String> = Vec::new();
        let mut good = LastGood::default();
        let mut pause = FIRST_PAUSE;
        loop {
            let shown = self.seeds.shown().into_iter().map(|seed| seed.name).collect();
            let before = std::mem::replace(&mut names, shown);
            for dropped in before.iter().filter(|name| !names.contains(name)) {
                self.event_log.condition_of(Code::SeedsDoNotResolve, dropped, None);
            }
            let results = self.seeds.resolve(&names).await;
            let well = self.seeds.note(&results, &good, &self.event_log);
            let results = good.fill(results);
            let settled = well && *self.joined.borrow_and_update();
            let only_addresses = names
                .iter()
                .all(|name| host_and_port(name).is_ok_and(|(host, _)| host.parse::<IpAddr>().is_ok()));
            let wait = if settled { LONGEST_PAUSE } else { pause };
            pause = if settled { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            let again = tokio::time::sleep(jittered(wait));
            tokio::pin!(again);
            loop {
                let Ok(moved) = self.tell(&results, &mut told).await else { return };
                if moved && !only_addresses {
                    // On another network names may mean something else.
                    pause = FIRST_PAUSE;
                    again.as_mut().reset(tokio::time::Instant::now() + FIRST_PAUSE);
                }
                tokio::select! {
                    // An address is an address: nothing to ask again.
                    () = &mut again, if !only_addresses => break,
                    () = self.seeds.replaced.notified() => {
                        pause = FIRST_PAUSE;
                        break;
                    }
                    () = self.advertise.changed() => {}
                    () = self.requests.closed() => return,
                }
            }
        }
    }

    /// Tells the machine what has changed. Whether our own address has.
    async fn tell(
        &mut self,
        results: &[Resolved],
        told: &mut Option<BTreeSet<SocketAddr>>,
    ) -> Result<bool, Gone> {
        let found: Vec<SocketAddr> =
            results.iter().filter_map(|(_, result)| result.as_ref().ok()).flatten().copied().collect();
        let moved = self.advertise.look(towards(results.iter().map(|(name, _)| name), &found));
        let missing = self.advertise.missing().map(|why| why.to_owned().into());
        self.event_log.condition(Code::AdvertisedAddress, missing);
        if moved {
            self.command(Command::Readdress(self.advertise.own())).await?;
        }
        let is_us = self.advertise.is_us();
        let others = results
            .iter()
            .any(|(_, result)| result.as_ref().map_or(true, |found| found.iter().any(|at| !is_us(*at))));
        self.seeds.only_us.store(!others, Ordering::Relaxed);
        if told.is_none() && self.advertise.missing().is_some() {
            // A call tells our address, and there is none yet.
            return Ok(moved);
        }
        let remembered = std::mem::take(&mut self.remembered);
        if !remembered.is_empty() {
            self.command(Command::Remembered(remembered)).await?;
        }
        let set: BTreeSet<SocketAddr> = found.into_iter().filter(|at| !is_us(*at)).collect();
        if told.as_ref() != Some(&set) {
            debug!(addresses = listed(&set.iter().copied().collect::<Vec<_>>()), "seeds");
            let mut seeds = Vec::with_capacity(set.len());
            for (name, result) in results {
                let mut some: Vec<SocketAddr> = result
                    .iter()
                    .flatten()
                    .copied()
                    .filter(|at| set.contains(at) && !seeds.contains(at))
                    .collect();
                if !srv::is_service(name) && some.len() > 1 {
                    // Otherwise a thousand agents would all call the first address first.
                    let first = usize::from(random()) * some.len() / 256;
                    some.rotate_left(first);
                }
                seeds.append(&mut some);
            }
            self.command(Command::Seeds(seeds)).await?;
            *told = Some(set);
        }
        Ok(moved)
    }

    async fn command(&self, command: Command) -> Result<(), Gone> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Command(command, reply)).await.map_err(|_| Gone)?;
        // Refused only while leaving.
        let _ = answer.await;
        Ok(())
    }
}

/// What people are told of addresses that are used though the name cannot be resolved.
fn kept(last: &[SocketAddr]) -> String {
    format!("; what it was before is used on: {}", listed(last))
}

fn listed(addresses: &[SocketAddr]) -> String {
    words::first(&addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), LISTED)
}

/// The machine has ended.
struct Gone;

/// What these seeds say about where this host is.
pub(crate) fn towards<'a>(names: impl Iterator<Item = &'a String>, found: &'a [SocketAddr]) -> Towards<'a> {
    let mut names = names.peekable();
    let any = names.peek().is_some();
    Towards { seeds: found, here: any && names.all(|name| is_written_as_loopback(name)), any }
}

/// Whether a seed means this host by what is written, not by what the name happens to resolve to: many hosts have
/// their own name as 127.0.1.1 in /etc/hosts.
pub(crate) fn is_written_as_loopback(seed: &str) -> bool {
    let Ok((host, _)) = host_and_port(seed) else { return false };
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Splits `HOST[:PORT]`; IPv6 addresses with a port stand in brackets.
///
/// # Errors
/// No host, or no port number after the colon.
pub(crate) fn host_and_port(seed: &str) -> Result<(String, u16), String> {
    let bare = seed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(seed);
    let at = seed.parse().or_else(|_| bare.parse().map(|ip| SocketAddr::new(ip, DEFAULT_PORT)));
    if let Ok(at) = at {
        return of_a_member(at).map(|()| (at.ip().to_string(), at.port())).map_err(str::to_owned);
    }
    let (host, port) = match seed.rsplit_once(':') {
        Some((host, port)) => {
            let port = port.parse().ok().filter(|port| *port > 0);
            (host, port.ok_or_else(|| "the port is no number from 1 to 65535".to_owned())?)
        }
        None => (seed, DEFAULT_PORT),
    };
    if seed.contains(',') {
        return Err("has a comma; give each seed by itself".to_owned());
    }
    if host.is_empty() || !host.chars().all(may_be_of_a_name) {
        return Err("is not HOST or HOST:PORT".to_owned());
    }
    if srv::is_service(host) {
        if seed != host {
            return Err("is a service, whose records say the ports; leave the port out".to_owned());
        }
        srv::split(host)?;
    }
    Ok((host.to_owned(), port))
}

/// A resolver may know names of other scripts. Of ASCII, host names have these; some have underscores though they should not.
fn may_be_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c) || !c.is_ascii() && c.is_alphanumeric()
}

/// Whether a member can be at this address, and we can send there.
fn of_a_member(at: SocketAddr) -> Result<(), &'static str> {
    if at.port() == 0 {
        return Err("the port is no number from 1 to 65535");
    }
    if matches!(at.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local()) {
        return Err("is of one link, and no other host knows which; give another address of that host");
    }
    let ip = at.ip().to_canonical();
    let one_host = is_reachable(SocketAddr::new(ip, at.port()));
    one_host.then_some(()).ok_or("is an address at which no member can be")
}

impl Family {
    fn speaks(self, at: SocketAddr) -> bool {
        match self {
            Self::V4 => at.is_ipv4(),
            Self::V6 => at.is_ipv6(),
            Self::Both => true,
        }
    }
}

fn unresolved(seeds: &[String]) -> Vec<types::Seed> {
    let seed = |name: &String| types::Seed { name: name.clone(), addresses: Vec::new(), error: None };
    seeds.iter().map(seed).collect()
}

/// ±10 %, so that a thousand agents do not ask the name server as one.
fn jittered(pause: Duration) -> Duration {
    chance::jittered(pause, 0.1)
}

fn random() -> u8 {
    heartsay_tokio::clock::entropy().map_or(0, |bytes| bytes[0])
}

/// Addresses that are named.
const LISTED: usize = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);
/// A start does not wait longer for a name server; what it says later is heeded too.
const FIRST_LIMIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_good_answer_holds_until_there_is_another_and_the_failure_is_named() {
        let at = |n: u8| SocketAddr::from(([10, 0, 0, n], 4327));
        let one = |result: Result<u8, &str>| {
            vec![("n1".to_owned(), result.map(|n| vec![at(n)]).map_err(str::to_owned))]
        };
        let (seeds, event_log) = (Seeds::new(&["n1".to_owned()], at(9).ip()), EventLog::new());
        let mut good = LastGood::default();
        let mut answer = |result: Vec<Resolved>| {
            let well = seeds.note(&result, &good, &event_log);
            (well, good.fill(result).remove(0).1)
        };
        assert_eq!(answer(one(Err("SERVFAIL"))), (false, Err("SERVFAIL".to_owned())), "nothing is known yet");
        assert_eq!(answer(one(Ok(1))), (true, Ok(vec![at(1)])));
        for why in ["SERVFAIL", "no answer within 5 s", "no such name"] {
            assert_eq!(answer(one(Err(why))), (false, Ok(vec![at(1)])));
            let said = event_log.sentences().remove(0);
            assert!(said.contains(why) && said.contains("10.0.0.1:4327"), "{said}");
            let shown = seeds.shown().remove(0);
            assert_eq!((shown.addresses, shown.error.as_deref()), (vec![at(1).to_string()], Some(why)));
        }
        assert_eq!(answer(one(Ok(2))), (true, Ok(vec![at(2)])));
        assert!(event_log.conditions().is_empty());
    }

    #[test]
    fn a_seed_is_a_host_with_or_without_port() {
        let split = |seed| host_and_port(seed).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(split("n1").unwrap(), "n1 4327");
        assert_eq!(split("n1.example:99").unwrap(), "n1.example 99");
        assert_eq!(split("10.0.0.1").unwrap(), "10.0.0.1 4327");
        assert_eq!(split("10.0.0.1:99").unwrap(), "10.0.0.1 99");
        assert_eq!(split("::1").unwrap(), "::1 4327");
        assert_eq!(split("[::1]").unwrap(), "::1 4327");
        assert_eq!(split("[::1]:99").unwrap(), "::1 99");
        assert_eq!(split("n_1.example.").unwrap(), "n_1.example. 4327");
        assert_eq!(split("_heartsay._udp.example.org").unwrap(), "_heartsay._udp.example.org 4327");
        for bad in [
            "",
            ":99",
            "n1:",
            "n1:0",
            "10.0.0.1:0",
            "[::1]:0",
            "0.0.0.0",
            "[::ffff:0.0.0.0]:7",
            "224.0.0.1:7",
            "255.255.255.255",
            "ff02::1",
            "fe80::1",
            "[fe80::1%2]:7",
            "n1:99999",
            "http://n1",
            "a b",
            "n1,n2",
            "10.0.0.1,10.0.0.2:4327",
            "\"n1\"",
            "[n1]",
            "n1;n2",
            "$SEED",
            "_hs._udp.example.org:99",
            "_hs.example.org",
        ] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_resolved_is_a_condition_and_others_still_count() {
        let names = ["no-such-host.invalid", "127.0.0.1:7", "127.0.0.9:4327"].map(str::to_owned);
        let seeds = Arc::new(Seeds::new(&names, "127.0.0.1".parse().unwrap()));
        let event_log = Arc::new(EventLog::new());
        let (requests, mut inbox) = mpsc::channel(1);
        let (_joined, joined) = watch::channel(false);
        let own: SocketAddr = "127.0.0.9:4327".parse().unwrap();
        let remembered: SocketAddr = "127.0.0.5:4327".parse().unwrap();
        let mut advertise = Advertiser::new(None, own);
        advertise.look(towards(names.iter(), &[]));
        let keeper = Keeper {
            seeds: Arc::clone(&seeds),
            event_log: Arc::clone(&event_log),
            requests,
            advertise,
            remembered: vec![remembered],
            joined,
        };
        let task = tokio::spawn(keeper.keep());
        let Some(Request::Command(Command::Remembered(told), reply)) = inbox.recv().await else {
            panic!("no peers")
        };
        reply.send(Ok(())).unwrap();
        assert_eq!(told, [remembered]);
        let Some(Request::Command(Command::Seeds(told), reply)) = inbox.recv().await else {
            panic!("no seeds")
        };
        reply.send(Ok(())).unwrap();
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["127.0.0.1:7"]);
        assert!(event_log.sentences()[0].contains("no-such-host.invalid"));
        assert!(seeds.shown()[0].error.is_some());
        // Another set replaces the first, and the condition goes with its seed.
        seeds.replace(&["127.0.0.3:7".to_owned()]);
        let Some(Request::Command(Command::Seeds(told), reply)) = inbox.recv().await else {
            panic!("no seeds")
        };
        reply.send(Ok(())).unwrap();
        assert_eq!(told.len(), 1);
        drop(inbox);
        task.await.unwrap();
        assert_eq!(event_log.sentences(), [""; 0]);
    }

    #[tokio::test]
    async fn addresses_of_a_family_that_we_do_not_speak_are_left_out() {
        let seeds = Seeds::new(&[], "0.0.0.0".parse().unwrap());
        assert!(seeds.resolve_one("[::1]:7").await.unwrap_err().contains("family"));
        let seeds = Seeds::new(&[], "::".parse().unwrap());
        assert_eq!(seeds.resolve_one("[::1]:7").await.unwrap().len(), 1);
        assert_eq!(seeds.resolve_one("127.0.0.1:7").await.unwrap().len(), 1);
    }
}
