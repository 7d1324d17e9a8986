//! The transport alone: what leaves, how long it is, and what is still waited for.

use core::net::SocketAddr;
use core::time::Duration;

use heartsay_proto::gossip::packet::Body;
use heartsay_proto::{Message, gossip};

use crate::io::Event;
use crate::roster::standing::{Accusation, Evidence, Marks};
use crate::testing::{Bench, Sent, address, hash};
use crate::transport::requests::{Request, RequestKind, Requests};
use crate::transport::wire::{self, Detail};

/// Sends `to` as many records as one datagram carries.
fn tell_everything(bench: &mut Bench, to: SocketAddr) -> Sent {
    let (now, all) = (bench.now, bench.roster.entries().map(|(hash, _)| hash).collect::<Vec<_>>());
    bench.context().tell(now, to, &all, Detail::Full);
    bench.sent().pop().unwrap()
}

/// `n1` is asked whether it is there.
fn ping(bench: &mut Bench) -> Vec<Sent> {
    let now = bench.now;
    bench.context().ping(now, hash(1), address(1), RequestKind::Probe { after: None });
    bench.sent()
}

/// Begins a measurement, whose long ping is lost. Returns the lengths of its two pings.
fn measure_in_vain(bench: &mut Bench, bare_comes_back: bool) -> Vec<usize> {
    let (now, to) = (bench.now, address(1));
    bench.context().step_path_limits(now, |_| false);
    let lengths = bench.sent().iter().map(|sent| sent.length).collect();
    if bare_comes_back {
        bench.context().path_probe_answered(now, to, false);
    }
    bench.context().path_probe_lost(now, to);
    lengths
}

/// Only short datagrams reach `n1`, and we have found that out.
fn with_narrow_path() -> Bench {
    let mut bench = Bench::new(40);
    let now = bench.now;
    bench.context().on_too_long(now, address(1));
    (0..4).for_each(|_| _ = measure_in_vain(&mut bench, true));
    assert_eq!(bench.events(), [Event::PathLimited { to: address(1), narrow: true }]);
    bench
}

#[test]
fn a_path_is_narrow_after_four_lost_long_pings() {
    let mut bench = Bench::new(4);
    let now = bench.now;
    bench.context().on_too_long(now, address(1));
    for lost in 0..4 {
        assert_eq!(bench.events(), [], "{lost} were lost");
        let lengths = measure_in_vain(&mut bench, true);
        assert!(matches!(lengths[..], [..=512, 1190..=1200]), "{lengths:?}");
    }
    assert_eq!(bench.events(), [Event::PathLimited { to: address(1), narrow: true }]);
    assert_eq!(bench.context().longest(address(1)), 512);
    assert_eq!(bench.context().longest(address(2)), 0);
}

#[test]
fn a_path_on_which_nothing_comes_back_is_not_narrow() {
    let mut bench = Bench::new(4);
    let now = bench.now;
    bench.context().on_too_long(now, address(1));
    let pings: usize = (0..20).map(|_| measure_in_vain(&mut bench, false).len()).sum();
    assert_eq!(pings, 16, "it is given up after eight measurements");
    assert_eq!(bench.events(), []);
    assert_eq!(bench.context().longest(address(1)), 0);
}

#[test]
fn of_a_narrow_path_it_is_asked_which_direction_loses_long_datagrams() {
    for (comes_back, inbound) in [(true, true), (false, false)] {
        let mut bench = with_narrow_path();
        let asked = bench.sent().pop().unwrap();
        let Some(Body::Ping(ping)) = &asked.packet.body else { panic!("no ping") };
        assert!(ping.bare && asked.length > 1100 && asked.to == address(1), "{}", asked.length);
        let (now, to) = (bench.now, address(1));
        if comes_back {
            bench.context().path_probe_answered(now, to, true);
            assert_eq!(bench.events(), [Event::PathLimited { to, narrow: true }], "it is told anew");
        } else {
            bench.context().path_probe_lost(now, to);
            assert_eq!(bench.events(), []);
        }
        let narrow = bench.transport.path_limits.narrow(&bench.core.config, &bench.roster);
        assert_eq!(narrow.iter().map(|path| path.inbound).collect::<Vec<_>>(), [inbound]);
        assert_eq!(bench.context().longest(to), 512, "narrow in either case");
    }
}

#[test]
fn some_paths_are_measured_at_a_wish_and_then_no_more() {
    let mut bench = Bench::new(40);
    let now = bench.now;
    bench.context().measure_some(now);
    assert_eq!(bench.transport.path_limits.measuring(), 4);
    for left in (0..4).rev() {
        bench.pass(Duration::from_secs(1));
        let now = bench.now;
        bench.context().step_path_limits(now, |_| false);
        let sent = bench.sent();
        assert!(matches!(sent[..], [Sent { length: ..=512, .. }, Sent { length: 1190..=1200, .. }]));
        bench.context().path_probe_answered(now, sent[1].to, true);
        assert_eq!(bench.transport.path_limits.measuring(), left);
    }
    assert_eq!(bench.events(), []);
}

#[test]
fn a_narrow_path_is_measured_again_and_may_be_whole() {
    let mut bench = with_narrow_path();
    bench.pass(Duration::from_secs(600));
    let now = bench.now;
    bench.context().step_path_limits(now, |_| false);
    // The path to another member is measured first: it shows whether our own link is narrow.
    bench.pass(Duration::from_secs(1));
    let now = bench.now;
    bench.context().step_path_limits(now, |_| false);
    assert!(bench.sent().iter().any(|sent| sent.to == address(1) && sent.length > 512));
    bench.context().path_probe_answered(now, address(1), true);
    assert_eq!(bench.events(), [Event::PathLimited { to: address(1), narrow: false }]);
    assert!(tell_everything(&mut bench, address(1)).length > 512);
}

#[test]
fn a_narrow_path_shortens_what_leaves_and_the_other_side_is_told() {
    let mut bench = with_narrow_path();
    let (narrow, whole) = (tell_everything(&mut bench, address(1)), tell_everything(&mut bench, address(2)));
    assert!(narrow.length <= 512 && narrow.packet.claims.len() > 2, "{}", narrow.length);
    assert!(whole.length > 1000 && whole.packet.claims.len() > 2 * narrow.packet.claims.len());
    assert_eq!((narrow.packet.longest, whole.packet.longest), (512, 0));
    let alike = bench.context().alike(&[address(1), address(2), address(3)]);
    assert_eq!(alike, [vec![address(2), address(3)], vec![address(1)]]);
}

#[test]
fn a_peer_that_calls_its_path_narrow_gets_short_datagrams() {
    let mut bench = Bench::new(40);
    let now = bench.now;
    bench.context().hear_longest(now, address(1), 512);
    let short = tell_everything(&mut bench, address(1));
    assert!(short.length <= 512, "{}", short.length);
    assert_eq!(short.packet.longest, 0, "it knows");
    bench.context().hear_longest(now, address(1), 0);
    assert!(tell_everything(&mut bench, address(1)).length > 512);
}

#[test]
fn each_datagram_introduces_us_while_our_address_is_new() {
    let mut bench = Bench::new(3);
    let me = hash(0);
    let records = |sent: &[Sent]| -> Vec<bool> {
        let claims = sent.iter().flat_map(|sent| &sent.packet.claims);
        claims.filter(|claim| claim.subject == me).map(|claim| claim.body.is_some()).collect()
    };
    bench.transport.introduce_until = bench.now + Duration::from_secs(3);
    assert_eq!(records(&ping(&mut bench)), [true]);
    let (now, body) = (bench.now, gossip::Ping { padding: vec![0; 1140].into(), ..Default::default() });
    bench.context().tell(now, address(1), &[me], Detail::Full);
    assert_eq!(records(&bench.sent()), [true], "once");
    let full = bench.context().packet(7, Some(Body::Ping(body)));
    bench.context().send(address(1), &full);
    let sent = bench.sent();
    assert!(records(&sent).is_empty() && sent[0].length <= 1200, "without room it is left out");
    bench.pass(Duration::from_secs(3));
    assert!(records(&ping(&mut bench)).is_empty());
}

#[test]
fn the_byte_rate_holds_back_records_before_signs_of_life() {
    let mut bench = Bench::of(0, 1..40, |config| config.byte_rate = 10_000);
    let record = |bench: &mut Bench| -> usize {
        let (now, to) = (bench.now, address(1));
        let mut ctx = bench.context();
        let mut filler = ctx.filler(to, 0, Some(Body::Supply(gossip::Supply::default()))).unwrap();
        let members = ctx.roster.iter().map(|member| ctx.claim(now, to, member, Detail::Full));
        members.for_each(|claim| _ = filler.try_claim(claim));
        ctx.send(to, &filler.finish());
        bench.sent().iter().map(|sent| sent.length + 28).sum()
    };
    let bytes: usize = (0..100).map(|_| record(&mut bench)).sum();
    assert!((29_000..=30_000).contains(&bytes), "a quarter of four seconds' worth is kept: {bytes}");
    assert!(bench.core.stats.datagrams_held_back > 0);
    let pings = (0..1000).filter(|_| ping(&mut bench).len() == 1).count();
    assert!((100..200).contains(&pings), "signs of life use that: {pings}");
    bench.pass(Duration::from_millis(500));
    assert_eq!(record(&mut bench), 0, "what flows in is theirs first");
    assert_eq!(ping(&mut bench).len(), 1);
}

#[test]
fn a_forgiven_question_has_no_subject() {
    let mut bench = Bench::new(3);
    let kinds = [
        RequestKind::Exchange,
        RequestKind::Probe { after: None },
        RequestKind::LinkProbe,
        RequestKind::Lease,
    ];
    let (sent, to) = (bench.now, address(1));
    let deadline = sent + Duration::from_millis(500);
    let requests = &mut bench.transport.requests;
    for kind in kinds {
        requests.open(Request { subject: Some(hash(1)), to, sent, deadline, kind });
        requests.open(Request { subject: Some(hash(2)), to: address(2), sent, deadline, kind });
    }
    requests.forgive(hash(1));
    assert_eq!(requests.expired(sent).len(), 0);
    let expired: Vec<Request> = requests.expired(deadline).into_iter().map(|(request, _)| request).collect();
    assert_eq!(expired.len(), 8);
    let (first, second): (Vec<&Request>, Vec<&Request>) =
        expired.iter().partition(|request| request.to == to);
    let blamed = first.iter().filter(|request| request.subject.is_some()).map(|request| request.kind);
    assert_eq!(
        blamed.collect::<Vec<_>>(),
        [RequestKind::Lease],
        "an elector is asked whatever its incarnation"
    );
    assert!(second.iter().all(|request| request.subject.is_some()));
}

#[test]
fn only_the_first_bytes_of_an_open_request_to_that_address_identify_it() {
    let mut bench = Bench::new(3);
    let (sent, to) = (bench.now, address(1));
    let requests = &mut bench.transport.requests;
    let request =
        Request { subject: None, to, sent, deadline: sent, kind: RequestKind::Probe { after: None } };
    let refused = |requests: &mut Requests, to, byte| requests.refused(to, &[byte; 32]).is_some();
    let seq = requests.open(request);
    assert!(!refused(requests, to, 0), "it has not left");
    requests.leaves(seq, to, &[1; 40]);
    requests.leaves(seq, to, &[2; 40]);
    assert!(!refused(requests, to, 2), "an answer of ours that bears the number of a peer");
    assert!(!refused(requests, address(2), 1), "another address");
    assert!(refused(requests, to, 1));
    assert!(!refused(requests, to, 1), "once");
    assert!(requests.answered(seq).is_some(), "an answer is still seen");
    let answered = requests.open(request);
    requests.leaves(answered, to, &[3; 40]);
    requests.answered(answered);
    assert!(!refused(requests, to, 3), "it has been answered");
}

#[test]
fn a_refused_request_is_waited_for_no_more_and_a_refused_pull_is() {
    let mut bench = Bench::new(3);
    let (sent, to) = (bench.now, address(1));
    let deadline = sent + Duration::from_millis(500);
    let requests = &mut bench.transport.requests;
    let (helper, pull) = (
        RequestKind::Indirect { helper: hash(1), after: None },
        RequestKind::Pull { part: 0, until: 0, peer: None },
    );
    for (byte, kind) in [(1, helper), (2, pull)] {
        let seq = requests.open(Request { subject: Some(hash(2)), to, sent, deadline, kind });
        requests.leaves(seq, to, &[byte; 32]);
        assert_eq!(requests.refused(to, &[byte; 32]).map(|request| request.kind), Some(kind));
    }
    assert!(!requests.waits_for_helpers(hash(2)));
    assert_eq!(requests.next(), deadline, "of the pull");
    assert_eq!(
        requests.expired(deadline).iter().map(|(request, _)| request.kind).collect::<Vec<_>>(),
        [pull]
    );
}

#[test]
fn a_verdict_on_a_member_that_runs_goes_with_two_of_its_accusers_or_not_at_all() {
    let mut bench = Bench::new(4);
    let unfit = |by| {
        let (kind, began) = (Evidence::Unfit, bench.now);
        Accusation { by: hash(by), basis: 60, kind, weak: false, began, source: None }
    };
    let marks = Marks { down: Some(60), accusations: vec![unfit(2), unfit(3)], ..Marks::default() };
    bench.roster.get_mut(hash(1)).unwrap().mark(&marks);
    let member = bench.roster.get(hash(1)).unwrap();
    let claim = |room| wire::write_claim(bench.now, member, Detail::Thin, room, usize::MAX);
    let whole = claim(1000);
    assert_eq!((whole.down, whole.accusations.len()), (61, 2));
    assert_eq!(claim(whole.encoded_len()), whole);
    let cut = claim(whole.encoded_len() - 1);
    assert_eq!((cut.down, cut.accusations.len()), (0, 1), "the accused would refute it");
}

#[test]
fn however_many_call_it_silent_the_testimony_that_puts_it_out_is_told_too() {
    let mut bench = Bench::new(24);
    let accusation = |by, kind| {
        let began = bench.now;
        Accusation { by: hash(by), basis: 60, kind, weak: false, began, source: None }
    };
    let silent = (2..14).map(|by| accusation(by, Evidence::Silent));
    let unfit = (14..17).map(|by| accusation(by, Evidence::Unfit));
    let marks = Marks { down: Some(60), accusations: silent.chain(unfit).collect(), ..Marks::default() };
    bench.roster.get_mut(hash(1)).unwrap().mark(&marks);
    let member = bench.roster.get(hash(1)).unwrap();
    let claim = |room| wire::write_claim(bench.now, member, Detail::Thin, room, usize::MAX);
    let (whole, cut) = (claim(1000), claim(claim(1000).encoded_len() / 2));
    assert_eq!((whole.down, whole.accusations.len()), (61, 15));
    // Its number on the wire.
    const SILENT: u32 = 0;
    let silent = |claim: &gossip::Claim| claim.accusations.iter().filter(|a| a.kind == SILENT).count();
    let kinds = |claim: &gossip::Claim| (silent(claim), claim.accusations.len() - silent(claim));
    assert_eq!((kinds(&whole), kinds(&cut), cut.down), ((12, 3), (3, 3), 61));
}
