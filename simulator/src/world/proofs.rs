//! Compares what members claim with the specification (`membership/spec`), step by step.
//!
//! Each datagram carries, beside its bytes, what its sender could know when it left. So for each claim of a proof it is
//! known whether any datagrams explain it, by whatever way they came. No content is read: a claim must be explained
//! whatever the datagrams say.

use core::time::Duration;

use heartsay_membership::{Config, Electorate, Instant, MemberEvent, MemberEventKind, Quorum, Status};
use heartsay_spec::merge;
use heartsay_spec::trace::{self, Causes, Past, Settling, Words};

use crate::host::Stamp;
use crate::models::Baseline;
use crate::scenario::Scenario;

/// What can be known, and what was claimed.
pub(crate) struct Proofs {
    followed: Option<Followed>,
    words: Option<Words<usize>>,
    compared: u64,
}

/// Where an electorate is stated that the specification knows, and members are few.
struct Followed {
    causes: Causes,
    electorate: trace::Electorate,
    lease: Duration,
    settle: Duration,
    claims: Vec<Claims>,
}

/// The last claims of one member.
#[derive(Clone, Default)]
struct Claims {
    settling: Settling,
    explained: Option<Instant>,
    /// One broken claim is followed by many.
    broken: bool,
}

impl Proofs {
    pub(super) fn new<'a>(
        scenario: &Scenario,
        config: &Config,
        zone: impl Fn(usize) -> Option<&'a str>,
    ) -> Self {
        let few = scenario.nodes <= MOST && scenario.machine == Baseline::Heartsay && !scenario.has_liars();
        let electorate = config.electorate.as_ref().filter(|_| few);
        let followed = electorate.and_then(|e| stated(e, scenario.nodes, zone)).map(|electorate| Followed {
            causes: Causes::new(scenario.nodes),
            electorate,
            lease: config.lease(),
            settle: config.quorum_settle.max(config.lease()),
            claims: vec![Claims::default(); scenario.nodes],
        });
        Self { followed, words: few.then(Words::default), compared: 0 }
    }

    /// Whether claims of quorum are compared.
    pub(super) fn compares(&self) -> bool {
        self.followed.is_some()
    }

    /// Steps compared so far.
    pub(super) fn compared(&self) -> u64 {
        self.compared
    }

    /// A process starts. Claims of two processes with one name, and of newcomers, are not compared.
    pub(super) fn begins(&mut self, host: usize, own: bool) {
        if let Some(words) = &mut self.words {
            words.ends(&host);
        }
        let Some(followed) = &mut self.followed else { return };
        followed.causes.begins(host);
        match followed.claims.get_mut(host).filter(|_| own) {
            Some(claims) => *claims = Claims::default(),
            None => self.followed = None,
        }
    }

    /// `host` receives what `from` sent.
    pub(super) fn received(&mut self, now: Instant, host: usize, from: usize, past: Option<&Past>) {
        if let Some(followed) = &mut self.followed {
            followed.causes.acts(now.as_micros(), host, past.map(|past| (from, past)));
        }
    }

    /// `host` does something.
    pub(super) fn acts(&mut self, now: Instant, host: usize) {
        if let Some(followed) = &mut self.followed {
            followed.causes.acts(now.as_micros(), host, None);
        }
    }

    /// What goes with a datagram that `host` sends now.
    pub(super) fn stamp(&self, host: usize) -> Stamp {
        self.followed.as_ref()?.causes.past(host)
    }

    /// `host` claims, at `local` by its clock, this much of quorum. What is wrong with that.
    pub(super) fn claims(
        &mut self,
        now: Instant,
        host: usize,
        local: Instant,
        quorum: Quorum,
        until: Option<Instant>,
    ) -> Option<String> {
        let Followed { causes, electorate, lease, settle, claims } = self.followed.as_mut()?;
        let claims = claims.get_mut(host)?;
        self.compared += 1;
        let may_hold = claims.settling.may_hold(
            local.as_micros(),
            until.map(Instant::as_micros),
            u64::try_from(settle.as_micros()).unwrap_or(u64::MAX),
        );
        let fresh = until.filter(|_| claims.explained < until);
        claims.explained = claims.explained.max(until);
        if claims.broken {
            return None;
        }
        if quorum == Quorum::Held && !may_hold {
            claims.broken = true;
            return Some("holds quorum before it has had a proof for long enough".to_owned());
        }
        let age = *lease - fresh?.since(local).min(*lease);
        // A clock may be slow by 1 %, and rounds to microseconds.
        let age = age * 100 / 99 + Duration::from_micros(20);
        let then = now.as_micros().saturating_sub(u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
        if causes.explain(host, then, electorate) {
            return None;
        }
        claims.broken = true;
        Some(format!("claims a proof that is at most {age:?} old, and no datagrams explain it"))
    }

    /// `observer` tells this of `subject`. What is wrong with that, after what it told before.
    pub(super) fn tells(&mut self, observer: usize, subject: usize, event: &MemberEvent) -> Option<String> {
        let words = self.words.as_mut()?;
        self.compared += 1;
        if event.kind == MemberEventKind::Forgotten {
            words.forgets(observer, subject);
            return None;
        }
        let status = match event.status {
            Status::Alive | Status::Restarting | Status::Suspect => merge::Status::Alive,
            Status::Down => merge::Status::Down,
            Status::Left => merge::Status::Left,
        };
        let told = merge::Told { generation: event.generation, heartbeat: event.heartbeat, status };
        words.tells(observer, subject, told)
    }
}

/// The electorate as the specification knows it. Where more members run than were stated, any of them may have the votes.
/// `None`: one with a tie or with tags.
fn stated<'a>(
    electorate: &Electorate,
    members: usize,
    zone: impl Fn(usize) -> Option<&'a str>,
) -> Option<trace::Electorate> {
    let most = |votes: u32| votes / 2 + 1;
    let zones = match electorate {
        Electorate::Expected { votes, tag: None, weight: None, tie: None } => {
            vec![(vec![1; members], most(*votes))]
        }
        Electorate::Voters(voters) => {
            let mut votes = vec![0; members];
            for (name, has) in voters {
                let number: usize = name.as_str().strip_prefix('n')?.parse().ok()?;
                *votes.get_mut(number)? = *has;
            }
            vec![(votes, most(voters.values().sum()))]
        }
        Electorate::Zones { zones, tag: None, tie: None } => zones
            .iter()
            .map(|(name, votes)| {
                let has = |member| u32::from(zone(member) == Some(name.as_str()));
                ((0..members).map(has).collect(), most(*votes))
            })
            .collect(),
        Electorate::Expected { .. } | Electorate::Zones { .. } => return None,
    };
    Some(trace::Electorate { zones })
}

/// Members of which all is followed: what goes with a datagram, and what is told, grows with the square.
const MOST: usize = 16;
