//! From members and the bytes of a question to the bytes of the answer.

use std::net::{Ipv4Addr, Ipv6Addr};

use domain::base::iana::{Class, Opcode, OptRcode, Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name, ParsedName, Record, Ttl};
use domain::rdata::{A, Aaaa, AllRecordData, Soa, Srv};
use proptest::prelude::*;

use super::answer::{Answer, Content, Domain, MOST, Outcome, Way, answer};
use super::zone::Zone;
use crate::export::Entry;
use crate::export::entry::tests::entry_at;

mod services;

const DOMAIN: &str = "Shop.heartsay";
const UDP: Way = Way::Udp(MOST);

fn member(name: &str, address: &str, tags: &[(&str, &str)]) -> Entry {
    let address = if address.contains(':') { format!("[{address}]:4327") } else { format!("{address}:4327") };
    entry_at(name, &address, tags).unwrap()
}

fn is(mut entry: Entry, status: &str) -> Entry {
    status.clone_into(&mut entry.status);
    entry
}

fn zone(members: &[Entry]) -> Zone {
    Zone::new(DOMAIN, members, &[])
}

/// Some of each kind.
fn shop() -> Zone {
    zone(&[
        member("db-1", "10.0.0.1", &[("role", "db"), ("port", "5432")]),
        member("db-2", "10.0.0.2", &[("role", "db"), ("port", "5433")]),
        member("db-6", "2001:db8::6", &[("role", "db")]),
        member("web.example.org", "10.0.0.3", &[("role", "Web")]),
        is(member("old", "10.0.0.9", &[("role", "cache"), ("port", "1")]), "down"),
    ])
}

fn query(name: &str, rtype: Rtype, size: Option<u16>) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(4327);
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((Name::<Vec<u8>>::vec_from_str(name).unwrap(), rtype)).unwrap();
    let mut builder = builder.additional();
    if let Some(size) = size {
        let set = builder.opt(|opt| {
            opt.set_udp_payload_size(size);
            Ok(())
        });
        set.unwrap();
    }
    builder.finish()
}

fn told(query: &[u8], zone: Option<&Zone>, way: Way, turn: usize) -> Option<Answer> {
    let domain = Domain { apex: Name::vec_from_str(DOMAIN).unwrap(), ttl: Ttl::from_secs(1) };
    answer(query, &domain, Content { zone, serial: 7, turn }, way)
}

type Any<'a> = Record<ParsedName<&'a [u8]>, AllRecordData<&'a [u8], ParsedName<&'a [u8]>>>;

/// A whole answer, read again.
struct Read {
    message: Message<Vec<u8>>,
    cut: bool,
}

fn ask(zone: &Zone, name: &str, rtype: Rtype) -> Read {
    Read::of(told(&query(name, rtype, Some(4096)), Some(zone), UDP, 0).unwrap())
}

impl Read {
    fn of(answer: Answer) -> Self {
        let message = Message::from_octets(answer.bytes).unwrap();
        assert_eq!(message.header().tc(), answer.cut);
        Self { message, cut: answer.cut }
    }

    fn rcode(&self) -> Rcode {
        self.message.header().rcode()
    }

    fn records(&self) -> Vec<Any<'_>> {
        let records = self.message.answer().unwrap();
        records.map(|record| record.unwrap().into_any_record().unwrap()).collect()
    }

    fn v4(&self) -> Vec<u8> {
        let last = |address: Ipv4Addr| address.octets()[3];
        let records = self.message.answer().unwrap().limit_to::<A>();
        records.map(|record| last(record.unwrap().data().addr())).collect()
    }

    fn v6(&self) -> Vec<Ipv6Addr> {
        let records = self.message.answer().unwrap().limit_to::<Aaaa>();
        records.map(|record| record.unwrap().data().addr()).collect()
    }

    fn services(&self) -> Vec<String> {
        let records = self.message.answer().unwrap().limit_to::<Srv<_>>();
        let text = |srv: &Srv<ParsedName<&[u8]>>| format!("{}:{}", srv.target(), srv.port());
        records.map(|record| text(record.unwrap().data())).collect()
    }

    /// The SOA record of an answer that there is nothing.
    fn nothing(&self) -> String {
        assert_eq!(self.message.header_counts().ancount(), 0);
        let record = self.message.authority().unwrap().limit_to::<Soa<_>>().next().unwrap().unwrap();
        format!("{} {}", record.owner(), record.ttl().as_secs().min(record.data().minimum().as_secs()))
    }
}

#[test]
fn names_and_roles_have_the_addresses_of_their_members() {
    let shop = shop();
    let one = ask(&shop, "db-1.shop.heartsay", Rtype::A);
    assert_eq!((one.v4(), one.rcode()), (vec![1], Rcode::NOERROR));
    let header = one.message.header();
    assert!(header.aa() && header.qr() && header.rd() && !header.ra() && !header.tc() && !header.ad());
    assert_eq!((header.id(), one.records()[0].ttl()), (4327, Ttl::from_secs(1)));
    assert_eq!(ask(&shop, "db.role.shop.heartsay", Rtype::A).v4(), [1, 2]);
    assert_eq!(
        ask(&shop, "db.role.shop.heartsay", Rtype::AAAA).v6(),
        ["2001:db8::6".parse::<Ipv6Addr>().unwrap()]
    );
    assert_eq!(ask(&shop, "web.role.shop.heartsay", Rtype::A).v4(), [3], "the DNS has no capitals");
    assert_eq!(ask(&shop, "web.example.org.shop.heartsay", Rtype::A).v4(), [3]);
}

#[test]
fn a_death_is_in_the_next_answer() {
    let web = [("role", "web")];
    let (a, b) = (member("a", "10.0.0.1", &web), member("b", "10.0.0.2", &web));
    let both = zone(&[a.clone(), b.clone()]);
    assert_eq!(ask(&both, "web.role.shop.heartsay", Rtype::A).v4(), [1, 2]);
    for status in ["down", "left"] {
        let one = zone(&[a.clone(), is(b.clone(), status)]);
        assert_eq!(ask(&one, "web.role.shop.heartsay", Rtype::A).v4(), [1]);
        let gone = ask(&one, "b.shop.heartsay", Rtype::A);
        assert_eq!((gone.rcode(), gone.nothing()), (Rcode::NOERROR, "shop.heartsay 1".to_owned()));
        let none = zone(&[is(a.clone(), status), is(b.clone(), status)]);
        assert_eq!(ask(&none, "web.role.shop.heartsay", Rtype::A).rcode(), Rcode::NOERROR);
    }
}

#[test]
fn a_suspect_is_behind_a_role_only_where_no_other_is() {
    let web = [("role", "web"), ("port", "80")];
    let (a, b) = (member("a", "10.0.0.1", &web), is(member("b", "10.0.0.2", &web), "suspect"));
    let one = zone(&[a.clone(), b.clone()]);
    assert_eq!(ask(&one, "web.role.shop.heartsay", Rtype::A).v4(), [1]);
    assert_eq!(ask(&one, "_web._tcp.shop.heartsay", Rtype::SRV).services(), ["a.Shop.heartsay:80"]);
    assert_eq!(ask(&one, "b.shop.heartsay", Rtype::A).v4(), [2], "its name is its own");
    let all = zone(&[is(a, "suspect"), b]);
    assert_eq!(ask(&all, "web.role.shop.heartsay", Rtype::A).v4(), [1, 2]);
}

#[test]
fn services_have_ports_and_bring_the_addresses_of_their_hosts() {
    let shop = shop();
    let db = ask(&shop, "_db._tcp.shop.heartsay", Rtype::SRV);
    assert_eq!(db.services(), ["db-1.Shop.heartsay:5432", "db-2.Shop.heartsay:5433"], "db-6 says no port");
    let beside = db.message.additional().unwrap().limit_to::<A>();
    assert_eq!(beside.map(|record| record.unwrap().data().addr().octets()[3]).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(ask(&shop, "_db._udp.shop.heartsay", Rtype::SRV).services().len(), 2);
    let agents = ask(&shop, "_heartsay._udp.shop.heartsay", Rtype::SRV).services();
    assert_eq!(agents.len(), 4);
    assert!(agents.iter().all(|agent| agent.ends_with(":4327")), "{agents:?}");
    let posing = zone(&[member("a", "10.0.0.1", &[("role", "heartsay"), ("port", "1")])]);
    assert_eq!(ask(&posing, "_heartsay._udp.shop.heartsay", Rtype::SRV).services(), ["a.Shop.heartsay:4327"]);
}

#[test]
fn no_such_name_is_told_from_nothing_of_this_kind() {
    let shop = shop();
    for (name, rtype, rcode) in [
        ("db-9", Rtype::A, Rcode::NXDOMAIN),
        ("x.role", Rtype::A, Rcode::NXDOMAIN),
        ("_x._tcp", Rtype::SRV, Rcode::NXDOMAIN),
        ("x.db-1", Rtype::A, Rcode::NXDOMAIN),
        ("db-1", Rtype::AAAA, Rcode::NOERROR),
        ("db-1", Rtype::TXT, Rcode::NOERROR),
        ("db-1", Rtype::SOA, Rcode::NOERROR),
        ("cache.role", Rtype::A, Rcode::NOERROR),
        ("_cache._tcp", Rtype::SRV, Rcode::NOERROR),
        // Names above names are names (RFC 8020).
        ("role", Rtype::A, Rcode::NOERROR),
        ("_udp", Rtype::A, Rcode::NOERROR),
        ("org", Rtype::A, Rcode::NOERROR),
    ] {
        let answer = ask(&shop, &format!("{name}.shop.heartsay"), rtype);
        assert_eq!((answer.rcode(), answer.nothing()), (rcode, "shop.heartsay 1".to_owned()), "{name}");
        assert!(answer.message.header().aa());
    }
    assert_eq!(ask(&shop, "shop.heartsay", Rtype::A).nothing(), "shop.heartsay 1");
    assert_eq!(ask(&shop, "shop.heartsay", Rtype::SOA).records().len(), 1);
    // One label `x.role` is not two.
    let mut dotted = query("db.role.shop.heartsay", Rtype::A, None);
    dotted.splice(12..20, *b"\x07db.role");
    let answer = Read::of(told(&dotted, Some(&shop), UDP, 0).unwrap());
    assert_eq!(answer.rcode(), Rcode::NXDOMAIN);
}

#[test]
fn letters_come_back_as_they_were_asked() {
    let asked = query("dB-1.sHOp.HeArtSay", Rtype::A, None);
    let answer = told(&asked, Some(&shop()), UDP, 0).unwrap();
    assert_eq!(answer.bytes[12..asked.len()], asked[12..]);
    let read = Read::of(answer);
    assert_eq!(
        (read.v4(), read.records()[0].owner().to_string()),
        (vec![1], "dB-1.sHOp.HeArtSay".to_owned())
    );
    let none = Read::of(told(&query("X.sHOp.HeArtSay", Rtype::A, None), Some(&shop()), UDP, 0).unwrap());
    assert_eq!(none.nothing(), "sHOp.HeArtSay 1");
}

#[test]
fn nothing_but_its_own_domain_and_class_is_answered() {
    let shop = shop();
    for (name, rtype) in [
        ("example.org", Rtype::A),
        ("heartsay", Rtype::SOA),
        (".", Rtype::NS),
        ("xshop.heartsay", Rtype::A),
        ("shop.heartsay.org", Rtype::A),
        ("shop.heartsay", Rtype::AXFR),
        ("shop.heartsay", Rtype::IXFR),
    ] {
        let answer = ask(&shop, name, rtype);
        assert_eq!((answer.rcode(), answer.records().len()), (Rcode::REFUSED, 0), "{name}");
        assert!(!answer.message.header().aa() && answer.message.header_counts().nscount() == 0);
    }
    for class in [Class::CH, Class::ANY] {
        let mut other = query("db-1.shop.heartsay", Rtype::A, None);
        let end = other.len();
        other[end - 2..].copy_from_slice(&class.to_int().to_be_bytes());
        assert_eq!(told(&other, Some(&shop), UDP, 0).unwrap().result, Outcome::Refused);
    }
}

#[test]
fn whatever_there_is_is_one_short_record() {
    let answer = ask(&shop(), "db.role.shop.heartsay", Rtype::ANY);
    let records = answer.records();
    assert_eq!((records.len(), records[0].rtype()), (1, Rtype::HINFO));
    assert_eq!(ask(&shop(), "none.shop.heartsay", Rtype::ANY).rcode(), Rcode::NXDOMAIN);
}

#[test]
fn before_a_view_is_believed_it_is_not_known_who_there_is() {
    let asked = query("db-1.shop.heartsay", Rtype::A, None);
    let answer = Read::of(told(&asked, None, UDP, 0).unwrap());
    assert_eq!((answer.rcode(), answer.message.header().aa()), (Rcode::SERVFAIL, false));
    let outside = query("example.org", Rtype::A, None);
    assert_eq!(told(&outside, None, UDP, 0).unwrap().result, Outcome::Refused);
}

#[test]
fn a_response_gets_no_answer_and_what_is_no_question_a_short_one() {
    let shop = shop();
    let good = query("db-1.shop.heartsay", Rtype::A, Some(4096));
    let result = |bytes: &[u8]| told(bytes, Some(&shop), UDP, 0).map(|answer| (answer.result, answer.bytes));
    let mut response = good.clone();
    response[2] |= 0x80;
    assert!(result(&response).is_none());
    assert!(result(&good[..11]).is_none() && result(&[]).is_none());
    let changed = |at: usize, byte: u8| {
        let mut changed = good.clone();
        changed[at] = byte;
        result(&changed).unwrap()
    };
    let mut twice = good.clone();
    twice.extend_from_slice(&good[good.len() - 11..]);
    twice[11] = 2;
    for (what, (outcome, bytes)) in [
        ("no question", changed(5, 0)),
        ("two questions", changed(5, 2)),
        ("records that are not there", changed(7, 1)),
        ("two OPT records", result(&twice).unwrap()),
        ("cut", result(&good[..20]).unwrap()),
        ("only a header", result(&good[..12]).unwrap()),
    ] {
        assert_eq!((outcome, bytes.len()), (Outcome::Malformed, 12), "{what}");
        assert_eq!((&bytes[..2], bytes[3] & 15), (&good[..2], Rcode::FORMERR.to_int()), "{what}");
    }
    let (outcome, bytes) = changed(2, Opcode::NOTIFY.to_int() << 3);
    assert_eq!((outcome, bytes[3] & 15), (Outcome::NotImplemented, Rcode::NOTIMP.to_int()));
    // Version 1 of EDNS.
    let (outcome, bytes) = changed(good.len() - 5, 1);
    let message = Message::from_octets(bytes).unwrap();
    assert_eq!((outcome, message.opt_rcode()), (Outcome::NotImplemented, OptRcode::BADVERS));
}

#[test]
fn pointers_that_lead_in_circles_are_no_name() {
    let shop = shop();
    for name in
        [&b"\xc0\x0c"[..], b"\x01a\xc0\x0c", b"\xc0\x0e\xc0\x0c", b"\xff\xff", b"\x01a\xc0\x0e", b"\x40a\0"]
    {
        let mut bytes = vec![0x10, 0xe7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&[0, 1, 0, 1]);
        assert_eq!(told(&bytes, Some(&shop), UDP, 0).unwrap().result, Outcome::Malformed, "{name:?}");
    }
}

/// So many members with role web.
fn crowd(members: usize) -> Zone {
    let address = |n: usize| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
    let member = |n| member(&format!("w{n}"), &address(n), &[("role", "web"), ("port", "80")]);
    zone(&(0..members).map(member).collect::<Vec<_>>())
}

#[test]
fn what_does_not_fit_is_cut_behind_a_whole_record_and_marked() {
    let name = "web.role.shop.heartsay";
    let asked = |members: usize, size: Option<u16>, way: Way| {
        let answer = told(&query(name, Rtype::A, size), Some(&crowd(members)), way, 0).unwrap();
        let length = answer.bytes.len();
        let read = Read::of(answer);
        (read.v4().len(), length, read.cut)
    };
    // Header 12, question 28, each record 16; with EDNS another 11.
    for (size, way, fit, length) in [
        (None, UDP, 29, 504),
        (Some(512), UDP, 28, 499),
        (Some(0), UDP, 28, 499),
        (Some(513), UDP, 28, 499),
        (Some(520), UDP, 29, 515),
        (Some(515), UDP, 29, 515),
        (Some(514), UDP, 28, 499),
        (Some(4096), UDP, 73, 1219),
        (Some(4096), Way::Udp(512), 28, 499),
    ] {
        assert_eq!(asked(fit, size, way), (fit, length, false), "{size:?}");
        assert_eq!(asked(fit + 1, size, way), (fit, length, true), "{size:?}");
    }
    assert_eq!(asked(300, None, Way::Tcp), (300, 40 + 300 * 16, false));
    let (fit, length, cut) = asked(5000, None, Way::Tcp);
    assert!(cut && fit == 4093 && length <= 65_535, "{fit} {length}");
}

#[test]
fn hosts_beside_a_service_are_left_out_before_it_is_cut() {
    let ask = |members| {
        let query = query("_web._tcp.shop.heartsay", Rtype::SRV, Some(1232));
        Read::of(told(&query, Some(&crowd(members)), UDP, 0).unwrap())
    };
    let some = ask(25);
    let beside = some.message.additional().unwrap().limit_to::<A>().count();
    assert!(!some.cut && some.services().len() == 25 && (1..25).contains(&beside), "{beside}");
    assert!(some.message.opt().is_some());
    assert!(ask(200).cut);
}

#[test]
fn every_member_of_a_crowd_is_in_some_answer() {
    let (crowd, asked) = (crowd(100), query("web.role.shop.heartsay", Rtype::A, None));
    let mut seen = std::collections::BTreeSet::new();
    for turn in (0..10).map(|n| n * 10).chain([usize::MAX]) {
        seen.extend(Read::of(told(&asked, Some(&crowd), UDP, turn).unwrap()).v4());
    }
    assert_eq!(seen.len(), 100);
}

#[test]
fn who_says_what_is_no_name_or_has_that_of_another_is_left_out_and_counted() {
    let at = |n: u8| format!("10.0.0.{n}");
    let named = |name: &str, role: &str| member(name, &at(2), &[("role", role), ("port", "1")]);
    for name in [
        "x y",
        "x;y",
        "näme",
        "-x",
        "a..b",
        "x.role",
        "X.Role",
        "_web._tcp",
        "_x",
        "localhost",
        &"x".repeat(64),
    ] {
        let zone = zone(&[member("good", &at(1), &[]), named(name, "web")]);
        assert_eq!((zone.members, zone.left_out), (1, 1), "{name:?}");
        // It serves nevertheless.
        assert_eq!(ask(&zone, "web.role.shop.heartsay", Rtype::A).v4(), [2], "{name:?}");
        assert_eq!(ask(&zone, "_web._tcp.shop.heartsay", Rtype::SRV).rcode(), Rcode::NXDOMAIN);
    }
    for role in ["a.b", "x y", "_x", "", "é"] {
        let zone = zone(&[named("good", role)]);
        assert_eq!((zone.members, zone.left_out), (1, 1), "{role:?}");
    }
    let twins = zone(&[member("DB", &at(3), &[]), member("db", &at(4), &[])]);
    assert_eq!((ask(&twins, "DB.shop.heartsay", Rtype::A).v4(), twins.left_out), (vec![4], 1));
    let one_host = zone(&[member("a", &at(5), &[("role", "x")]), member("b", &at(5), &[("role", "x")])]);
    assert_eq!(ask(&one_host, "x.role.shop.heartsay", Rtype::A).v4(), [5], "no record comes twice");
}

/// Bytes that are nearly a question.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        Just("db-1.shop.heartsay"),
        Just("db.role.shop.heartsay"),
        Just("_db._tcp.shop.heartsay"),
        Just("shop.heartsay"),
    ];
    let rtype = prop_oneof![
        Just(Rtype::A),
        Just(Rtype::SRV),
        Just(Rtype::ANY),
        any::<u16>().prop_map(Rtype::from_int)
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (name, rtype, any::<Option<u16>>(), changes, any::<prop::sample::Index>()).prop_map(
        |(name, rtype, size, changes, end)| {
            let mut bytes = query(name, rtype, size);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if end.index(4) == 0 {
                bytes.truncate(end.index(bytes.len()));
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_get_no_answer_or_one_that_is_well_formed_and_fits(
        bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), nearly()],
        most in any::<u16>(),
        turn in any::<usize>(),
    ) {
        let (shop, crowd) = (shop(), crowd(90));
        for zone in [None, Some(&shop), Some(&crowd)] {
            for (way, limit) in [(Way::Udp(most), usize::from(most.max(512))), (Way::Tcp, 65_535)] {
                let Some(answer) = told(&bytes, zone, way, turn) else { continue };
                prop_assert!(answer.bytes.len() <= limit);
                prop_assert_eq!(&answer.bytes[..2], &bytes[..2]);
                prop_assert!(bytes[2] & 0x80 == 0 && answer.bytes[2] & 0x80 != 0);
                let message = Message::from_octets(answer.bytes).unwrap();
                for record in message.iter() {
                    prop_assert!(record.is_ok());
                }
            }
        }
    }
}
