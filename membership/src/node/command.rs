//! Commands from the program or the operator of this host.

use std::sync::Arc;

use heartsay_proto::Keyring;

use crate::Instant;
use crate::identity::{Name, is_reachable};
use crate::io::{Command, Event, MemberEventKind, Rejected};
use crate::node::Node;
use crate::roster::fingerprint;
use crate::roster::source::Source;
use crate::roster::standing::Status;
use crate::roster::state::{BEACON_KEY, KEYS_KEY, StateError, is_reserved};

impl Node {
    pub(crate) fn on_command(&mut self, now: Instant, command: Command) -> Result<(), Rejected> {
        if self.gossip.leave.is_some() {
            return Err(Rejected::Leaving);
        }
        match command {
            Command::Seeds(seeds) => {
                let mine = self.roster.myself().incarnation.address();
                self.gossip.join.set_seeds(now, seeds, mine);
            }
            Command::Remembered(peers) => {
                let mine = self.roster.myself().incarnation.address();
                self.gossip.join.set_remembered(now, peers, mine);
            }
            Command::Join(addresses) => {
                let (gossip, mut ctx) = self.gossip();
                for address in addresses.into_iter().filter(|address| is_reachable(*address)) {
                    gossip.dial(now, &mut ctx, address);
                }
            }
            Command::Leave => {
                let (gossip, mut ctx) = self.gossip();
                gossip.say_good_bye(now, &mut ctx, None);
            }
            Command::Restart(within) => {
                let (gossip, mut ctx) = self.gossip();
                gossip.say_good_bye(now, &mut ctx, Some(within));
            }
            Command::Forget(name) => self.forget(now, &name)?,
            Command::Testify { name, source } => self.testify(now, name, source)?,
            Command::Set(changes) => {
                changes.iter().try_for_each(|(key, _)| check_not_ours(key))?;
                if self.set_state(now, &changes)? {
                    let (gossip, mut ctx) = self.gossip();
                    gossip.tell_each(now, &mut ctx);
                }
            }
            Command::Readdress(address) if !is_reachable(address) => {
                return Err(Rejected::Address { address });
            }
            Command::Readdress(address) => {
                let (gossip, mut ctx) = self.gossip();
                gossip.readdress(now, &mut ctx, address);
            }
            Command::Beat(beat) => {
                let (gossip, mut ctx) = self.gossip();
                gossip.suspend(now, &mut ctx, !beat);
            }
            Command::MeasurePaths => self.context().measure_some(now),
            Command::Ask { number, member, question } => self.ask_member(now, number, &member, question)?,
            Command::Answer { number, text } => {
                let (questions, mut ctx) = self.questions();
                questions.answering.tell_health(now, &mut ctx, number, text.as_deref());
            }
            Command::Keys(keyring) => self.take_keys(now, keyring)?,
            Command::Expect(electorate) => {
                self.quorum.voting.expect(now, electorate, self.core.config.quorum_settle);
                self.count_presence(now);
                self.emit(Event::Quorum(self.quorum(now)));
            }
        }
        Ok(())
    }

    /// Seals and opens with these keys from now on.
    fn take_keys(&mut self, now: Instant, keyring: Keyring) -> Result<(), Rejected> {
        let had_keys = !self.core.config.keyring.is_empty();
        self.set_state(now, &[(KEYS_KEY.to_owned(), keys_value(&keyring))])?;
        Arc::make_mut(&mut self.core.config).keyring = keyring;
        if !had_keys {
            let lives = self.roster.iter().map(|member| (member.incarnation.address(), member.tag()));
            let lives: Vec<_> = lives.collect();
            for (address, life) in lives {
                self.context().learn_life(address, life);
            }
        }
        Ok(())
    }

    /// Returns whether anything has changed.
    pub(crate) fn set_state(
        &mut self,
        now: Instant,
        changes: &[(String, Option<Vec<u8>>)],
    ) -> Result<bool, Rejected> {
        let me = self.core.me;
        let Some(mut myself) = self.roster.get_mut(me) else { return Ok(false) };
        let capacity = self.core.config.capacity();
        let changed = match myself.state.set(changes, capacity) {
            // The operator's keys come first: a beacon leaves them its room.
            Err(StateError::Keys { .. } | StateError::Size { .. })
                if myself.state.get(BEACON_KEY).is_some()
                    && changes.iter().all(|(key, _)| key != BEACON_KEY) =>
            {
                let without = changes.iter().cloned().chain([(BEACON_KEY.to_owned(), None)]);
                myself.state.set(&without.collect::<Vec<_>>(), capacity)?
            }
            tried => tried?,
        };
        if changed.is_empty() {
            return Ok(false);
        }
        myself.restamp();
        drop(myself);
        self.gossip.broadcast.news(now, me, true);
        self.context().report_update(me, changed, "its own change");
        Ok(true)
    }

    fn testify(&mut self, now: Instant, name: Name, source: Source) -> Result<(), Rejected> {
        let hash = fingerprint::of_name(&name);
        let Some(member) = self.roster.get(hash) else { return Err(Rejected::UnknownMember(name)) };
        if hash == self.core.me {
            return Err(Rejected::Oneself(name));
        }
        if !self.core.config.sources.contains(&source) {
            return Err(Rejected::UntrustedSource(source));
        }
        if member.is_present() {
            let (detection, mut ctx) = self.detection();
            detection.told(now, &mut ctx, hash, source);
        }
        Ok(())
    }

    fn forget(&mut self, now: Instant, name: &Name) -> Result<(), Rejected> {
        let hash = fingerprint::of_name(name);
        let Some(member) = self.roster.get(hash) else { return Err(Rejected::UnknownMember(name.clone())) };
        if member.is_present() || member.status == Status::Restarting {
            return Err(Rejected::StillHere { name: name.clone(), status: member.status });
        }
        self.context().report(hash, MemberEventKind::Forgotten, &[], "an operator asked for it");
        self.roster.bury(now, hash);
        self.detection.forget(hash);
        self.gossip.broadcast.news(now, hash, false);
        Ok(())
    }
}

/// Users must not set the keys that the protocol itself keeps in the record.
pub fn check_not_ours(key: &str) -> Result<(), StateError> {
    if is_reserved(key) { Err(StateError::Reserved { key: key.to_owned() }) } else { Ok(()) }
}

/// What a member with these keys says about them in its record; nothing without a key.
pub(super) fn keys_value(keyring: &Keyring) -> Option<Vec<u8>> {
    let ids: Vec<String> = keyring.ids().iter().map(u8::to_string).collect();
    (!keyring.is_empty()).then(|| ids.join(",").into_bytes())
}
