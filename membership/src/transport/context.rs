//! The context that a part is called with: what it may read and change, the way out, and the list of effects for other
//! parts.

use std::borrow::Cow;

use crate::core::Core;
use crate::effect::Effect;
use crate::io::{Event, MemberEvent, MemberEventKind, Output};
use crate::roster::Roster;
use crate::roster::returns::Hearsay;
use crate::roster::state::{KeyChange, is_reserved};
use crate::transport::Transport;

/// What a part is called with, beside the time.
#[derive(Debug)]
pub struct Context<'a> {
    pub core: &'a mut Core,
    pub roster: &'a mut Roster,
    pub transport: &'a mut Transport,
    /// How far this node had come with joining when the part was called.
    pub membership: OwnMembership,
    /// Effects for other parts, in this order; `node` carries them out.
    pub effects: &'a mut Vec<Effect>,
}

/// How far a node has come with joining.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnMembership {
    /// It has seen a complete view, or there is no other member to find.
    pub complete: bool,
    /// Peers refuse its name or its clock.
    pub refused: bool,
}

impl OwnMembership {
    pub fn is_joined(self) -> bool {
        self.complete && !self.refused
    }
}

impl Context<'_> {
    /// Asks another part for work.
    pub fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// The claims about a member have changed: asks `node` to let its status follow.
    pub fn ask_refresh(&mut self, subject: u64, reason: impl Into<Cow<'static, str>>) {
        self.effect(Effect::Refresh { subject, reason: reason.into() });
    }

    /// Reports an event to programs.
    pub fn emit(&mut self, event: Event) {
        self.transport.out.push_back(Output::Event(event));
    }

    /// Reports a change of one member's entry to programs.
    pub fn report(
        &mut self,
        subject: u64,
        kind: MemberEventKind,
        by: &[u64],
        reason: impl Into<Cow<'static, str>>,
    ) {
        if let Some(event) = self.member_event(subject, kind, by, reason) {
            self.emit(Event::Member(event));
        }
    }

    /// Reports changed values of a member's state to programs, unless only the protocol's own keys changed.
    pub fn report_update(
        &mut self,
        subject: u64,
        mut changed: Vec<KeyChange>,
        reason: impl Into<Cow<'static, str>>,
    ) {
        changed.retain(|change| !is_reserved(&change.key));
        if changed.is_empty() {
            return;
        }
        if let Some(event) = self.member_event(subject, MemberEventKind::Update, &[], reason) {
            self.emit(Event::Member(MemberEvent { changed, ..event }));
        }
    }

    /// An event about a member as it is now. It does not say whether the member is fenced; the quorum service knows
    /// that.
    pub fn member_event(
        &self,
        subject: u64,
        kind: MemberEventKind,
        by: &[u64],
        reason: impl Into<Cow<'static, str>>,
    ) -> Option<MemberEvent> {
        let member = self.roster.get(subject)?;
        let event = MemberEvent {
            kind,
            name: member.incarnation.name.clone(),
            generation: member.incarnation.generation,
            heartbeat: self.roster.returns.get(subject).map_or(member.heartbeat, Hearsay::down_as_of),
            status: self.roster.shown(member).0,
            fenced: None,
            by: self.roster.names(by),
            changed: Vec::new(),
            reason: reason.into(),
        };
        tracing::debug!(name = %event.name, ?kind, status = %event.status, reason = &*event.reason, "member");
        Some(event)
    }
}
