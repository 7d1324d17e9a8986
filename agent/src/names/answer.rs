//! From the bytes of a question to those of the answer, without a socket or a clock.
//!
//! Answers are authoritative, for one domain and class IN; whatever else is asked is refused. A response is never answered, so
//! that no two servers can be set on each other. What does not fit is cut behind the last whole record and marked, so that
//! who asked comes again over TCP (RFC 2181, 9), and one that cannot has some addresses at least.

use std::str::from_utf8;

use domain::base::iana::{Class, Opcode, OptRcode, Rcode, Rtype};
use domain::base::message_builder::{AdditionalBuilder, AnswerBuilder, PushError};
use domain::base::name::ToLabelIter as _;
use domain::base::opt::Opt;
use domain::base::wire::ParseError;
use domain::base::{
    CharStr, Message, MessageBuilder, Name, ParsedName, Record, RecordData, Serial, StaticCompressor, Ttl,
};
use domain::rdata::{A, Aaaa, Hinfo, Soa, Srv};

use super::zone::{Node, Zone};
use crate::export::format::is_label;

/// What is the same for all answers.
#[derive(Clone, Debug)]
pub(crate) struct Domain {
    /// Everything below is ours.
    pub(crate) apex: Name<Vec<u8>>,
    /// How long an answer may be kept, that there is none included.
    pub(crate) ttl: Ttl,
}

/// The names to answer from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content<'a> {
    /// `None`: not known yet.
    pub(crate) zone: Option<&'a Zone>,
    /// Of the zone, for those who ask for it.
    pub(crate) serial: u32,
    /// Where in a list of addresses to begin; another one each time, and all are used alike.
    pub(crate) turn: usize,
}

/// How much may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// As much as who asks says, up to this.
    Udp(u16),
    /// What fits into its length.
    Tcp,
}

/// An answer, and what kind it is of.
#[derive(Debug)]
pub(crate) struct Answer {
    /// To be sent.
    pub(crate) bytes: Vec<u8>,
    /// In one word.
    pub(crate) result: Outcome,
    /// Not all of it fits.
    pub(crate) cut: bool,
}

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There are records.
    Found,
    /// The name is there, and has none of this type.
    NoData,
    /// There is no such name.
    NoName,
    /// Another domain, class, or a transfer of the whole.
    Refused,
    /// No view has been believed yet.
    NotReady,
    /// It is no question.
    Malformed,
    /// Something else than a question, or a later version.
    NotImplemented,
}

impl Outcome {
    /// All of them, in words.
    pub(crate) const WORDS: [&str; 7] =
        ["found", "no-data", "no-name", "refused", "not-ready", "malformed", "not-implemented"];
}

/// The answer to these bytes; `None` if they get none.
pub(crate) fn answer(query: &[u8], domain: &Domain, content: Content<'_>, way: Way) -> Option<Answer> {
    let message = Message::from_slice(query).ok()?;
    if message.header().qr() {
        return None;
    }
    if message.header().opcode() != Opcode::QUERY {
        return bare(message, Rcode::NOTIMP, Outcome::NotImplemented);
    }
    let Ok(asked) = Asked::read(message) else {
        return bare(message, Rcode::FORMERR, Outcome::Malformed);
    };
    let found = find(&asked, domain, content.zone);
    let room = match (way, &asked.edns) {
        (Way::Tcp, _) => usize::from(u16::MAX),
        (Way::Udp(most), Some(edns)) => usize::from(edns.size.clamp(LEAST, most.max(LEAST))),
        (Way::Udp(_), None) => usize::from(LEAST),
    };
    Reply { message, asked: &asked, domain, content, room }.write(&found).ok()
}

/// A question that was understood.
struct Asked<'a> {
    name: ParsedName<&'a [u8]>,
    rtype: Rtype,
    class: Class,
    edns: Option<Edns>,
}

/// What who asks says of itself (RFC 6891).
struct Edns {
    size: u16,
    version: u8,
    dnssec_ok: bool,
}

impl<'a> Asked<'a> {
    fn read(message: &'a Message<[u8]>) -> Result<Self, ParseError> {
        let question = message.sole_question()?;
        let mut edns = None;
        for record in message.additional()? {
            let record = record?;
            if record.rtype() != Rtype::OPT {
                continue;
            }
            let Some(record) = record.into_record::<Opt<_>>()? else { continue };
            let opt = domain::base::opt::OptRecord::from_record(record);
            let (size, version, dnssec_ok) = (opt.udp_payload_size(), opt.version(), opt.dnssec_ok());
            if edns.replace(Edns { size, version, dnssec_ok }).is_some() {
                return Err(ParseError::form_error("more than one OPT record"));
            }
        }
        let (rtype, class) = (question.qtype(), question.qclass());
        Ok(Self { name: question.into_qname(), rtype, class, edns })
    }
}

/// What there is to say.
enum Found<'a> {
    /// Records of this node, if it has any of the type.
    Node {
        node: &'a Node,
        is_apex: bool,
    },
    NoName,
    Refused,
    NotReady,
    BadVersion,
}

fn find<'a>(asked: &Asked<'_>, domain: &Domain, zone: Option<&'a Zone>) -> Found<'a> {
    if asked.edns.as_ref().is_some_and(|edns| edns.version > 0) {
        return Found::BadVersion;
    }
    let transfer = matches!(asked.rtype, Rtype::AXFR | Rtype::IXFR);
    if asked.class != Class::IN || transfer || !asked.name.ends_with(&domain.apex) {
        return Found::Refused;
    }
    let Some(zone) = zone else { return Found::NotReady };
    let node = key(asked, domain).and_then(|key| Some((zone.get(&key)?, key.is_empty())));
    node.map_or(Found::NoName, |(node, is_apex)| Found::Node { node, is_apex })
}

/// The name in the words of the zone; `None` if no name there can be it. A dot in a label divides nothing.
fn key(asked: &Asked<'_>, domain: &Domain) -> Option<String> {
    let own = asked.name.label_count().checked_sub(domain.apex.iter_labels().count())?;
    let labels = asked.name.iter_labels().take(own);
    let texts = labels.map(|label| from_utf8(label.as_slice()).ok().filter(|text| is_label(text)));
    Some(texts.collect::<Option<Vec<&str>>>()?.join(".").to_ascii_lowercase())
}

type Target = StaticCompressor<Vec<u8>>;

/// The answer to a question that was understood.
struct Reply<'a> {
    message: &'a Message<[u8]>,
    asked: &'a Asked<'a>,
    domain: &'a Domain,
    content: Content<'a>,
    room: usize,
}

impl Reply<'_> {
    fn write(&self, found: &Found<'_>) -> Result<Answer, PushError> {
        let (rcode, mut result) = match found {
            Found::Node { .. } => (Rcode::NOERROR, Outcome::NoData),
            Found::NoName => (Rcode::NXDOMAIN, Outcome::NoName),
            Found::Refused => (Rcode::REFUSED, Outcome::Refused),
            Found::NotReady => (Rcode::SERVFAIL, Outcome::NotReady),
            // The rest of this code is in the OPT record.
            Found::BadVersion => (Rcode::NOERROR, Outcome::NotImplemented),
        };
        let mut builder = MessageBuilder::from_target(StaticCompressor::new(Vec::new()))
            .map_err(|_| PushError::ShortBuf)?;
        let reserved = if self.asked.edns.is_some() { OPT_LENGTH } else { 0 };
        // The limit itself is never reached.
        builder.set_push_limit(self.room.saturating_sub(reserved) + 1);
        let mut answers = builder.start_answer(self.message, rcode)?;
        let ours = matches!(result, Outcome::NoData | Outcome::NoName);
        answers.header_mut().set_aa(ours);
        let mut cut = false;
        if let Found::Node { node, is_apex } = found {
            cut = self.push_records(&mut answers, node, *is_apex).is_err();
            if answers.counts().ancount() > 0 || cut {
                result = Outcome::Found;
            }
        }
        answers.header_mut().set_tc(cut);
        let mut authority = answers.authority();
        if matches!(result, Outcome::NoData | Outcome::NoName) {
            authority.push(self.soa())?;
        }
        let mut additional = authority.additional();
        if let (Found::Node { node, .. }, Rtype::SRV, false) = (found, self.asked.rtype, cut) {
            self.push_addresses(&mut additional, node);
        }
        self.push_opt(&mut additional, matches!(found, Found::BadVersion))?;
        Ok(Answer { bytes: additional.finish().into_target(), result, cut })
    }

    /// The records of the type that is asked for, as far as they fit.
    fn push_records(
        &self,
        answers: &mut AnswerBuilder<Target>,
        node: &Node,
        is_apex: bool,
    ) -> Result<(), PushError> {
        match self.asked.rtype {
            Rtype::A => rotated(&node.v4, self.content.turn)
                .try_for_each(|address| answers.push(self.own(A::new(*address)))),
            Rtype::AAAA => rotated(&node.v6, self.content.turn)
                .try_for_each(|address| answers.push(self.own(Aaaa::new(*address)))),
            Rtype::SRV => rotated(&node.services, self.content.turn).try_for_each(|service| {
                answers.push(self.own(Srv::new(0, 0, service.port, &service.target)))
            }),
            Rtype::SOA if is_apex => answers.push(self.soa()),
            // One record, whatever there is (RFC 8482).
            Rtype::ANY => {
                let (cpu, os) = (CharStr::from_octets(&b"RFC8482"[..]), CharStr::from_octets(&b""[..]));
                match cpu.ok().zip(os.ok()) {
                    Some((cpu, os)) => answers.push(self.own(Hinfo::new(cpu, os))),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Of the hosts in the answer, as far as they fit: who asks would ask for them next.
    fn push_addresses(&self, additional: &mut AdditionalBuilder<Target>, node: &Node) {
        let Some(zone) = self.content.zone else { return };
        let mut last = None;
        for service in rotated(&node.services, self.content.turn) {
            if last.replace(&service.key) == Some(&service.key) {
                continue;
            }
            let Some(host) = zone.get(&service.key) else { continue };
            let name = &service.target;
            let v4 = host.v4.iter().map(|at| additional.push(self.record(name, A::new(*at))));
            if !v4.into_iter().all(|pushed| pushed.is_ok()) {
                return;
            }
            let v6 = host.v6.iter().map(|at| additional.push(self.record(name, Aaaa::new(*at))));
            if !v6.into_iter().all(|pushed| pushed.is_ok()) {
                return;
            }
        }
    }

    fn push_opt(&self, additional: &mut AdditionalBuilder<Target>, bad: bool) -> Result<(), PushError> {
        let Some(edns) = &self.asked.edns else { return Ok(()) };
        additional.set_push_limit(self.room + 1);
        additional.opt(|opt| {
            opt.set_udp_payload_size(MOST);
            opt.set_dnssec_ok(edns.dnssec_ok);
            if bad {
                opt.set_rcode(OptRcode::BADVERS);
            }
            Ok(())
        })
    }

    /// A record of the name that was asked for, as it was written there.
    fn own<Data: RecordData>(&self, data: Data) -> Record<&ParsedName<&[u8]>, Data> {
        Record::new(&self.asked.name, Class::IN, self.domain.ttl, data)
    }

    fn record<N, Data: RecordData>(&self, name: N, data: Data) -> Record<N, Data> {
        Record::new(name, Class::IN, self.domain.ttl, data)
    }

    fn soa(&self) -> Record<&Name<Vec<u8>>, Soa<&Name<Vec<u8>>>> {
        let (apex, ttl) = (&self.domain.apex, self.domain.ttl);
        let soa = Soa::new(apex, apex, Serial(self.content.serial), SLOW, SLOW, SLOW, ttl);
        self.record(apex, soa)
    }
}

/// A header without a question that could not be read, or is none.
fn bare(message: &Message<[u8]>, rcode: Rcode, result: Outcome) -> Option<Answer> {
    let mut builder = MessageBuilder::from_target(StaticCompressor::new(Vec::new())).ok()?;
    let (asked, header) = (message.header(), builder.header_mut());
    header.set_id(asked.id());
    header.set_qr(true);
    header.set_opcode(asked.opcode());
    header.set_rd(asked.rd());
    header.set_rcode(rcode);
    Some(Answer { bytes: builder.finish().into_target(), result, cut: false })
}

fn rotated<T>(list: &[T], turn: usize) -> impl Iterator<Item = &T> {
    let (head, tail) = list.split_at(turn.checked_rem(list.len()).unwrap_or_default());
    tail.iter().chain(head)
}

/// What every host takes over UDP.
pub(crate) const LEAST: u16 = 512;
/// What passes every path in one piece, as the DNS flag day of 2020 has it.
pub(crate) const MOST: u16 = 1232;
/// An OPT record without options.
const OPT_LENGTH: usize = 11;
/// For servers that copy the zone; there are none.
const SLOW: Ttl = Ttl::from_secs(3600);
