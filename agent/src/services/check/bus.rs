//! What systemd says of one unit, and that it has changed, over the bus of the system.
//!
//! As much of [D-Bus](https://dbus.freedesktop.org/doc/dbus-specification.html) as this takes: calls with a few strings,
//! answers that are one string, and one signal. Road not taken: a library, of 24 packages more for this.
//!
//! An answer of the bus is bounded; one that makes no sense ends the connection.

use std::io;
use std::path::Path;
use std::str;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// A connection on which changes of one unit are told.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    /// What has come and was not looked at.
    inbox: Vec<u8>,
    serial: u32,
    /// The units whose changes are told: a name and, for an alias, what it stands for.
    told: Vec<String>,
    /// A change was told while an answer was waited for.
    changed: bool,
}

/// Answers of systemd; empty where it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`, or of a later version.
    pub(super) active: String,
    /// The same in finer words, which depend on the type of the unit.
    pub(super) sub: String,
    /// `loaded`, `not-found`, `masked`, …
    pub(super) load: String,
    /// How a service ended: `success`, `exit-code`, `signal`, `oom-kill`, …
    pub(super) result: String,
}

/// A message that has come.
#[derive(Debug, Default)]
struct Message {
    kind: u8,
    /// Of the call that it answers.
    answers: u32,
    member: String,
    /// Its body, if that is one string or a variant with one.
    text: String,
}

impl Bus {
    /// Connects to the bus at `socket`. The bus is not waited for longer than its answer takes: bound this from outside.
    pub(super) async fn connect(socket: &Path) -> io::Result<Self> {
        let mut stream = UnixStream::connect(socket).await?;
        // Who we are the kernel tells it.
        stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n").await?;
        let mut bus = Self { stream, inbox: Vec::new(), serial: 0, told: Vec::new(), changed: false };
        while !bus.line().await?.starts_with("OK ") {}
        bus.call(BUS, "/org/freedesktop/DBus", BUS, "Hello", &[]).await?;
        bus.call(SYSTEMD, "/org/freedesktop/systemd1", MANAGER, "Subscribe", &[]).await?;
        Ok(bus)
    }

    /// How the unit is now. From here on its changes are told.
    pub(super) async fn state(&mut self, unit: &str) -> io::Result<State> {
        self.tell_of(unit).await?;
        // Any user may send signals: they have us ask again, but not for ever.
        let mut turns = TURNS;
        loop {
            (self.changed, turns) = (false, turns.saturating_sub(1));
            let id = self.get(unit, UNIT, "Id").await?;
            let mut state = State::default();
            for (property, into) in [
                ("ActiveState", &mut state.active),
                ("SubState", &mut state.sub),
                ("LoadState", &mut state.load),
            ] {
                *into = self.get(unit, UNIT, property).await?;
            }
            if unit.ends_with(".service") {
                state.result = self.get(unit, SERVICE, "Result").await.unwrap_or_default();
            }
            // Changes of an alias are told of the unit itself.
            if !self.tell_of(&id).await? && (!self.changed || turns == 0) {
                return Ok(state);
            }
        }
    }

    /// Waits until something may have changed; an error is a change too.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        while !self.changed {
            self.message().await?;
        }
        Ok(())
    }

    /// Whether this is new.
    async fn tell_of(&mut self, unit: &str) -> io::Result<bool> {
        if unit.is_empty() || self.told.iter().any(|told| told == unit) {
            return Ok(false);
        }
        let rule = format!(
            "type='signal',sender='{SYSTEMD}',interface='{PROPERTIES}',member='{CHANGED}',path='{}'",
            path(unit)
        );
        self.call(BUS, "/org/freedesktop/DBus", BUS, "AddMatch", &[&rule]).await?;
        self.told.push(unit.to_owned());
        Ok(true)
    }

    async fn get(&mut self, unit: &str, interface: &str, property: &str) -> io::Result<String> {
        let serial = self.call(SYSTEMD, &path(unit), PROPERTIES, "Get", &[interface, property]).await?;
        loop {
            let message = self.message().await?;
            match message.kind {
                SIGNAL => {}
                _ if message.answers != serial => {}
                RETURN => return Ok(message.text),
                _ => return Err(io::Error::other(message.text)),
            }
        }
    }

    async fn call(
        &mut self,
        to: &str,
        path: &str,
        interface: &str,
        member: &str,
        words: &[&str],
    ) -> io::Result<u32> {
        self.serial = self.serial.wrapping_add(1).max(1);
        self.stream.write_all(&call(self.serial, to, path, interface, member, words)).await?;
        Ok(self.serial)
    }

    /// The next that comes.
    async fn message(&mut self) -> io::Result<Message> {
        loop {
            if let Some(length) = length(&self.inbox)? {
                if length > LONGEST {
                    return Err(nonsense());
                }
                if self.inbox.len() >= length {
                    let message: Vec<u8> = self.inbox.drain(..length).collect();
                    let message = read(&message).ok_or_else(nonsense)?;
                    self.changed |= message.kind == SIGNAL && message.member == CHANGED;
                    return Ok(message);
                }
            }
            self.more().await?;
        }
    }

    /// The next line, while the connection begins.
    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.inbox.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.inbox.drain(..end + 2).collect();
                let line = String::from_utf8(line).map_err(|_| nonsense())?;
                return match line.starts_with("REJECTED") || line.starts_with("ERROR") {
                    true => {
                        Err(io::Error::other(format!("the bus lets this agent not in: {}", line.trim_end())))
                    }
                    false => Ok(line),
                };
            }
            if self.inbox.len() > LONGEST_LINE {
                return Err(nonsense());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.inbox).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Under which systemd has a unit: what is no letter and no digit, as its number.
fn path(unit: &str) -> String {
    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (at, byte) in unit.bytes().enumerate() {
        match byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && at > 0) {
            true => path.push(char::from(byte)),
            false => path.push_str(&format!("_{byte:02x}")),
        }
    }
    path
}

/// A call, whose arguments are all strings.
fn call(serial: u32, to: &str, path: &str, interface: &str, member: &str, words: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    words.iter().for_each(|word| put_text(&mut body, word));
    let mut fields = Vec::new();
    for (code, kind, text) in [(1, b'o', path), (2, b's', interface), (3, b's', member), (6, b's', to)] {
        pad(&mut fields, 8);
        fields.extend([code, 1, kind, 0]);
        put_text(&mut fields, text);
    }
    if !words.is_empty() {
        pad(&mut fields, 8);
        fields.extend([8, 1, b'g', 0, small(words.len())]);
        fields.extend(words.iter().map(|_| b's'));
        fields.push(0);
    }
    // Little-endian, starts no program, version 1.
    let mut message = vec![b'l', CALL, 2, 1];
    for number in [long(body.len()), serial, long(fields.len())] {
        message.extend(number.to_le_bytes());
    }
    message.extend(fields);
    pad(&mut message, 8);
    message.extend(body);
    message
}

fn put_text(into: &mut Vec<u8>, text: &str) {
    pad(into, 4);
    into.extend(long(text.len()).to_le_bytes());
    into.extend(text.bytes());
    into.push(0);
}

fn pad(into: &mut Vec<u8>, to: usize) {
    into.resize(into.len().next_multiple_of(to), 0);
}

/// Of words of ours, which are short.
fn long(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn small(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

/// Of the message that begins here, if so much has come that it is known.
fn length(inbox: &[u8]) -> io::Result<Option<usize>> {
    let Some(begin) = inbox.first_chunk::<16>() else { return Ok(None) };
    let mut begin = Reader::new(begin).ok_or_else(nonsense)?;
    let (body, fields) = begin.lengths().ok_or_else(nonsense)?;
    Ok(fields
        .checked_add(16)
        .and_then(|head| head.checked_next_multiple_of(8))
        .and_then(|head| head.checked_add(body)))
}

/// `None`: it makes no sense.
fn read(message: &[u8]) -> Option<Message> {
    let mut reader = Reader::new(message)?;
    let mut found = Message { kind: *message.get(1)?, ..Message::default() };
    let (_, fields) = reader.lengths()?;
    let end = 16_usize.checked_add(fields)?;
    let mut signature = "";
    while reader.at < end {
        reader.align(8)?;
        let code = reader.byte()?;
        match (code, reader.signature()?) {
            (3, "s") => reader.text()?.clone_into(&mut found.member),
            (5, "u") => found.answers = reader.number()?,
            (8, "g") => signature = reader.signature()?,
            (_, "s" | "o") => drop(reader.text()?),
            (_, "g") => drop(reader.signature()?),
            (_, "u") => drop(reader.number()?),
            _ => return None,
        }
    }
    reader.align(8)?;
    // Of a property; of an error, in words.
    let is_text = match signature {
        "v" => reader.signature()? == "s",
        "s" => true,
        _ => false,
    };
    if is_text {
        reader.text()?.clone_into(&mut found.text);
    }
    Some(found)
}

/// Reads along a message.
struct Reader<'a> {
    message: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Reader<'a> {
    fn new(message: &'a [u8]) -> Option<Self> {
        let big = match message.first()? {
            b'l' => false,
            b'B' => true,
            _ => return None,
        };
        Some(Self { message, at: 4, big })
    }

    /// Of the body and of the fields of the head; stands before the fields then.
    fn lengths(&mut self) -> Option<(usize, usize)> {
        let (body, _serial, fields) = (self.number()?, self.number()?, self.number()?);
        Some((usize::try_from(body).ok()?, usize::try_from(fields).ok()?))
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.message.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn align(&mut self, to: usize) -> Option<()> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4)?;
        let bytes = *self.take(4)?.first_chunk()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        self.ended(length)
    }

    fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        self.ended(length)
    }

    /// A zero is behind it.
    fn ended(&mut self, length: usize) -> Option<&'a str> {
        let text = str::from_utf8(self.take(length)?).ok()?;
        self.byte().map(|_| text)
    }
}

fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what the bus says makes no sense")
}

const BUS: &str = "org.freedesktop.DBus";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const CHANGED: &str = "PropertiesChanged";
const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const CALL: u8 = 1;
const RETURN: u8 = 2;
const SIGNAL: u8 = 4;
/// A change of a unit has some kilobytes.
const LONGEST: usize = 1 << 20;
const LONGEST_LINE: usize = 4096;
/// Looks at a unit that changes under them; the next begins with the signal of the change.
const TURNS: u32 = 3;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The length of the first message, if it has come as a whole.
    pub(in super::super) fn whole(inbox: &[u8]) -> Option<usize> {
        length(inbox).unwrap().filter(|length| *length <= inbox.len())
    }

    /// A property that is text.
    pub(in super::super) fn answer(call: [u8; 4], text: &str) -> Vec<u8> {
        let mut fields = vec![5, 1, b'u', 0];
        fields.extend(call);
        fields.extend([8, 1, b'g', 0, 1, b'v', 0]);
        let mut body = vec![1, b's', 0];
        put_text(&mut body, text);
        message(RETURN, &fields, &body)
    }

    /// Of a change, as far as anybody looks into it.
    pub(in super::super) fn signal() -> Vec<u8> {
        let mut fields = vec![3, 1, b's', 0];
        put_text(&mut fields, CHANGED);
        message(SIGNAL, &fields, b"whatever")
    }

    fn message(kind: u8, fields: &[u8], body: &[u8]) -> Vec<u8> {
        let mut message = vec![b'l', kind, 0, 1];
        for number in [long(body.len()), 7, long(fields.len())] {
            message.extend(number.to_le_bytes());
        }
        message.extend(fields);
        pad(&mut message, 8);
        message.extend(body);
        message
    }

    #[test]
    fn a_unit_has_the_path_that_systemd_gives_it() {
        assert_eq!(path("db@1.service"), "/org/freedesktop/systemd1/unit/db_401_2eservice");
        assert_eq!(path("9p.service"), "/org/freedesktop/systemd1/unit/_39p_2eservice");
    }

    #[test]
    fn a_call_is_laid_out_as_the_specification_says() {
        let call = call(3, "a.b", "/a", "c.d", "Get", &["x"]);
        let found = read(&call).unwrap();
        assert_eq!((found.kind, found.member.as_str(), found.text.as_str()), (CALL, "Get", "x"));
        assert_eq!(length(&call).unwrap(), Some(call.len()));
        assert_eq!(call.len() % 4, 2, "the body ends with its last string");
    }

    #[test]
    fn half_a_message_makes_no_sense_and_no_length_is_too_long() {
        let whole = answer([1, 0, 0, 0], "active");
        assert_eq!(read(&whole).unwrap().text, "active");
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_none(), "{end}");
        }
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] = 0xff;
            let _ = read(&other);
            let _ = length(&other);
        }
    }
}
