//! Seeds by name: looked up again and again, as names move.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tracing::debug;

/// The last good answer for each seed. A name server that fails for a moment says nothing about where the seeds are.
#[derive(Debug, Default)]
pub struct LastGood(BTreeMap<String, Vec<SocketAddr>>);

/// A seed and what came of its lookup: at least one address, or why there is none.
pub type Resolved = (String, Result<Vec<SocketAddr>, String>);

impl LastGood {
    /// Takes what is good, and puts the last good answer in the place of what failed. Of other seeds nothing is kept.
    pub fn fill(&mut self, results: Vec<Resolved>) -> Vec<Resolved> {
        self.0.retain(|name, _| results.iter().any(|(seed, _)| seed == name));
        let filled = results.into_iter().map(|(name, result)| {
            let result = match result {
                Ok(found) => {
                    self.0.insert(name.clone(), found.clone());
                    Ok(found)
                }
                Err(error) => self.of(&name).map(<[SocketAddr]>::to_vec).ok_or(error),
            };
            (name, result)
        });
        filled.collect()
    }

    /// The last good answer for this seed.
    #[must_use]
    pub fn of(&self, seed: &str) -> Option<&[SocketAddr]> {
        self.0.get(seed).map(Vec::as_slice)
    }
}

/// Asks the resolver of the host for all of them; the last good answers stand in for what fails.
pub(crate) async fn look_up(names: &[String], good: &mut LastGood) -> Vec<SocketAddr> {
    let mut results = Vec::with_capacity(names.len());
    for name in names {
        let result = look_up_one(name).await;
        if let Err(error) = &result {
            debug!(seed = %name, error, kept = good.of(name).map_or(0, <[SocketAddr]>::len), "a seed does not resolve");
        }
        results.push((name.clone(), result));
    }
    good.fill(results).into_iter().filter_map(|(_, result)| result.ok()).flatten().collect()
}

async fn look_up_one(name: &str) -> Result<Vec<SocketAddr>, String> {
    let addresses = tokio::net::lookup_host(name).await.map_err(|error| error.to_string())?;
    let mut found: Vec<SocketAddr> = addresses.take(MOST_ADDRESSES).collect();
    found.dedup();
    if found.is_empty() { Err("the name has no addresses".to_owned()) } else { Ok(found) }
}

/// Addresses that one name may stand for.
const MOST_ADDRESSES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_good_answer_stands_in_until_there_is_another_or_the_seed_is_dropped() {
        let at = |n: u8| SocketAddr::from(([10, 0, 0, n], 4327));
        let one = |result: Result<u8, &str>| {
            vec![("n1".to_owned(), result.map(|n| vec![at(n)]).map_err(str::to_owned))]
        };
        let mut good = LastGood::default();
        assert_eq!(good.fill(one(Err("SERVFAIL"))), one(Err("SERVFAIL")), "nothing is known yet");
        assert_eq!(good.fill(one(Ok(1))), one(Ok(1)));
        assert_eq!(good.fill(one(Err("SERVFAIL"))), one(Ok(1)));
        assert_eq!(good.fill(one(Ok(2))), one(Ok(2)));
        assert_eq!(good.of("n1"), Some(&[at(2)][..]));
        assert_eq!(good.fill(Vec::new()), []);
        assert_eq!(good.of("n1"), None);
    }
}
