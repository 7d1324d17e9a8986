//! The case against one member, for people: each piece of evidence, its source, and what is missing for a verdict.

use core::time::Duration;

use crate::Instant;
use crate::core::Core;
use crate::detection::Detection;
use crate::detection::verdict;
use crate::detection::witnesses::{self, Testimony};
use crate::identity::{Heartbeat, Name};
use crate::roster::Roster;
use crate::roster::member::Member;
use crate::roster::source::Source;
use crate::roster::standing::Status;

/// The evidence against a member, and how far it is from a verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseView {
    /// What this node has found out itself.
    pub pieces: Vec<PieceView>,
    /// All of it together, as φ; from 5 we accuse, from 8 we testify.
    pub phi: f64,
    /// Names of the witnesses, as drawn from this node's roster.
    pub witnesses: Vec<Name>,
    /// Testimonies that a verdict needs.
    pub needed: usize,
    /// Accusers that have proven the silence (refusals included), are in good standing and do not doubt themselves.
    pub proven: usize,
    /// Accusers that were refused by the member's kernel.
    pub refused: usize,
    /// Accusers that find the member unfit although it runs.
    pub unfit: usize,
    /// Accusers that get no answer, however briefly.
    pub silent: usize,
    /// Accusers to whom a source that this node trusts has said that the member is gone.
    pub told: usize,
    /// How much longer the silence has to last for a verdict by silence.
    pub pause_left: Duration,
    /// Any heartbeat above this closes the case.
    pub basis: Option<Heartbeat>,
    /// No quick verdict for now: too many other members are silent, or this node has just been away.
    pub held: bool,
}

/// One piece of evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct PieceView {
    /// What it is.
    pub kind: PieceKind,
    /// What it is worth, as φ, within its cap.
    pub phi: f64,
    /// How many contacts it rests on.
    pub count: u32,
    /// The witnesses that gave it; empty: this node itself.
    pub by: Vec<Name>,
    /// When the first and the last contact was.
    pub first: Instant,
    /// See `first`.
    pub last: Instant,
}

/// Kinds of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// Its heartbeat does not advance.
    Silence,
    /// It does not answer us.
    Direct,
    /// It does not answer helpers.
    Indirect,
    /// The kernel of its host refuses datagrams.
    Refused,
    /// This source outside the cluster has told us that it is gone.
    Told(Source),
    /// Probes of its link; `count` of the last 32 stayed unanswered although it was alive.
    Link,
    /// Recent returns from "down".
    Flaps,
}

impl Detection {
    /// The case against `member`; `None` if there is nothing against it.
    pub fn case(&self, now: Instant, core: &Core, roster: &Roster, member: &Member) -> Option<CaseView> {
        let hash = member.hash();
        if hash == core.me || member.status == Status::Left {
            return None;
        }
        let marks = member.marks();
        let pieces = self.pieces(now, roster, member);
        let open = !pieces.is_empty()
            || !marks.accusations.is_empty()
            || !matches!(member.status, Status::Alive | Status::Restarting);
        if !open {
            return None;
        }
        let witnesses = witnesses::of(roster, hash, core.config.witnesses);
        let testimony = Testimony::against(member, roster, &core.config);
        let began = marks.that_count().map(|a| a.began).min();
        let patience = verdict::patience(core.config.acceptable_pause, self.doubtful_share());
        let probe = self.probes.get(&hash);
        let began = began.or(probe.map(|p| p.began)).unwrap_or(now);
        let silence = marks.of_silence().map(|a| a.basis).chain(marks.down).max();
        Some(CaseView {
            phi: probe.map_or(0.0, |p| p.case.phi()),
            pieces,
            witnesses: roster.names(&witnesses),
            needed: testimony.needed,
            proven: testimony.proven,
            refused: testimony.refused,
            unfit: testimony.unfit,
            silent: testimony.silent,
            told: testimony.told,
            pause_left: patience.saturating_sub(now.since(began)),
            basis: silence.or(probe.map(|p| p.basis)),
            held: patience > core.config.acceptable_pause || now < core.recovering_until,
        })
    }

    fn pieces(&self, now: Instant, roster: &Roster, member: &Member) -> Vec<PieceView> {
        let mut pieces = Vec::new();
        let mut add = |kind, phi, count, by, first, last| {
            pieces.push(PieceView { kind, phi, count, by, first, last });
        };
        if let Some(probe) = self.probes.get(&member.hash()) {
            let case = &probe.case;
            if case.silence() > 0.0 {
                add(PieceKind::Silence, case.silence(), 1, Vec::new(), member.detector.last(), now);
            }
            let (direct, indirect) = case.contacts();
            for (kind, tally, worth) in
                [(PieceKind::Direct, case.direct, direct), (PieceKind::Indirect, case.indirect, indirect)]
            {
                let by = if kind == PieceKind::Indirect { roster.names(&probe.helpers) } else { Vec::new() };
                if tally.count > 0 {
                    add(kind, worth, tally.count, by, tally.first, tally.last);
                }
            }
            if let Some(at) = case.refused {
                add(PieceKind::Refused, TESTIFIES, 1, Vec::new(), at, at);
            }
            if let Some(source) = probe.source {
                add(PieceKind::Told(source), 0.0, 1, Vec::new(), probe.told, now);
            }
        }
        if let Some(record) = self.damping.record(member.hash()) {
            if record.link.lost() > 0 {
                let phi = self.damping.surprise(record);
                add(PieceKind::Link, phi, record.link.lost().into(), Vec::new(), record.since, now);
            }
            if record.flaps >= 0.5 {
                let flaps = [1_u32, 2, 3, 4].into_iter().rev().find(|n| record.flaps >= *n as f32 - 0.5);
                add(PieceKind::Flaps, 0.0, flaps.unwrap_or(1), Vec::new(), record.since, now);
            }
        }
        pieces
    }
}

/// φ of a refusal, as in heartsay_detector::Case.
const TESTIFIES: f64 = 8.0;
