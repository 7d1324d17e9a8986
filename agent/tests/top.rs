//! `heartsay top` with real agents, on paper and on a real terminal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;
mod said;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Output};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;

use daemon::{Agent, pair, plan};
use said::{code, stderr, stdout};

#[test]
fn one_picture_for_a_script_says_who_is_down_and_whose_fault_it_is() {
    let (a, mut b) = pair();
    let well = picture(&a, &[]);
    assert_eq!(code(&well), 0, "{}", stderr(&well));
    let text = stdout(&well);
    assert!(text.contains("tests as a sees it") && text.contains("2 members: 2 alive"), "{text}");
    assert!(text.contains("A  b ") && text.contains("z1"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
    assert!(!stdout(&picture(&a, &["zone=z2"])).contains("A  b "));
    b.kill();
    a.wait_status("b", "down");
    let text = stdout(&picture(&a, &[]));
    assert!(text.contains("THEM  b down") && text.contains("D  b "), "{text}");
    assert!(text.contains("member-down") && text.contains("do: "), "{text}");
    assert!(text.lines().any(|line| line.contains("UTC")) && text.contains("b down"), "{text}");
}

#[test]
fn the_terminal_is_given_back_whatever_ends_it() {
    let (a, _b) = pair();
    for (end, number) in [(b"q".as_slice(), 0), (b"\x03", 0), (b"", 143)] {
        let mut screen = Screen::show(&a);
        screen.until("the picture is there", |text| text.contains("2 members") && text.contains("A  b "));
        if end.is_empty() {
            kill(Pid::from_raw(screen.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        } else {
            screen.type_in(end);
        }
        let status = screen.ended();
        assert_eq!(status.code(), Some(number), "{end:?}");
        screen.wait("the other screen is left", |shown| shown.ends_with("\x1b[0m\x1b[?25h\x1b[?1049l"));
        assert_eq!(tcgetattr(&screen.slave).unwrap(), screen.before, "{end:?}");
    }
}

#[test]
fn keys_lead_to_the_evidence_and_an_agent_that_comes_back_is_seen_again() {
    let (mut a, mut b) = pair();
    b.kill();
    a.wait_status("b", "down");
    let mut screen = Screen::show(&a);
    screen.until("b stands first", |text| text.contains("D  b ") && text.contains("THEM"));
    screen.type_in(b"\r");
    screen.until("the evidence is told", |text| text.contains("why b") && text.contains("Them or us?"));
    screen.type_in(b"\x1b");
    screen.until("the list is back", |text| text.contains("NOTE, SERVICES"));
    a.kill();
    screen.until("no answer is told", |text| text.contains("NO ANSWER for ") && text.contains("D  b "));
    let _a = a.again();
    screen.until("its new life is shown", |text| text.starts_with("tests as a sees it"));
    screen.type_in(b"q");
    assert_eq!(screen.ended().code(), Some(0));
}

#[test]
fn a_process_that_stands_still_is_told_from_a_host_that_is_gone() {
    let (a, b) = pair();
    let c = plan("c").seed(&a.address()).start();
    b.wait_status("c", "alive");
    a.wait_status("c", "alive");
    c.freeze();
    a.wait_status("c", "down");
    let on_paper = stdout(&picture(&a, &[]));
    assert!(on_paper.contains("port-silent  c is down, its host runs"), "{on_paper}");
    let screen = Screen::show(&a);
    screen.until("it is told on the screen", |text| text.contains("port-silent  c is down, its host runs"));
    let codes = || {
        let me = a.get("/v1/self");
        let findings = me["findings"].as_array().unwrap().iter();
        findings.map(|one| one["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let told = codes();
    assert!(told.iter().any(|code| code == "port-silent"), "{told:?}");
    assert!(!told.iter().any(|code| code == "member-down"), "{told:?}");
    // What alerts rest on is the same, whoever looks.
    let metrics = a.ask("GET", "/metrics", "", "").body;
    assert!(metrics.contains("code=\"member-down\"} 1") && metrics.contains("code=\"port-silent\"} 0"));
    c.signal(Signal::SIGCONT);
    a.wait_status("c", "alive");
    let told = codes();
    assert!(!told.iter().any(|code| code == "port-silent"), "{told:?}");
}

#[test]
fn what_would_turn_a_line_round_is_written_out() {
    let a = plan("a").start();
    assert_eq!(a.post("/v1/services", r#"{"name":"web"}"#).status, 200);
    let ill = r#"{"name":"web","health":"critical","text":"\u202eevil"}"#;
    assert!(a.post("/v1/services/health", ill).status < 300);
    let screen = Screen::show(&a);
    screen.until("the service is ill", |text| text.contains("web on a is critical (\\u{202e}evil"));
    assert!(!screen.shown.lock().unwrap().contains('\u{202e}'));
}

/// One picture of what `agent` sees.
fn picture(agent: &Agent, filter: &[&str]) -> Output {
    top(agent).arg("--once").args(filter).env("COLUMNS", "100").output().unwrap()
}

fn top(agent: &Agent) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heartsay"));
    command.args(["--no-color", "--socket"]).arg(agent.plan.socket()).arg("top").env("TERM", "xterm");
    command
}

/// It runs on a terminal of 100 columns.
struct Screen {
    child: Child,
    keys: File,
    shown: Arc<Mutex<String>>,
    slave: OwnedFd,
    /// How the terminal was.
    before: Termios,
}

impl Screen {
    fn show(agent: &Agent) -> Self {
        let size = Winsize { ws_row: LINES, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(&size, None).unwrap();
        let slave = terminal.slave;
        let before = tcgetattr(&slave).unwrap();
        let mut command = top(agent);
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap());
        let child = command.spawn().unwrap();
        let mut master = File::from(terminal.master);
        let keys = master.try_clone().unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let read = Arc::clone(&shown);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = master.read(&mut bytes) {
                read.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        Self { child, keys, shown, slave, before }
    }

    fn type_in(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    /// Waits until what stands on the screen is as wanted.
    fn until(&self, what: &str, is_as_wanted: impl Fn(&str) -> bool) {
        self.wait(what, |sent| is_as_wanted(&laid_out(sent)));
    }

    /// Waits until all that was sent so far is as wanted.
    fn wait(&self, what: &str, is_as_wanted: impl Fn(&str) -> bool) {
        for _ in 0..TRIES {
            if is_as_wanted(&self.shown.lock().unwrap()) {
                return;
            }
            thread::sleep(PAUSE);
        }
        panic!("in vain: {what}:\n{}", laid_out(&self.shown.lock().unwrap()));
    }

    fn ended(&mut self) -> ExitStatus {
        for _ in 0..TRIES {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(PAUSE);
        }
        panic!("it does not end");
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a terminal makes of it: our sequences move, clear and paint, and no character is wide.
fn laid_out(sent: &str) -> String {
    let mut lines = vec![vec![' '; COLUMNS.into()]; LINES.into()];
    let (mut line, mut column) = (0, 0);
    let mut rest = sent.chars();
    while let Some(c) = rest.next() {
        if c != '\x1b' {
            if let Some(cell) = lines.get_mut(line).and_then(|line: &mut Vec<char>| line.get_mut(column)) {
                *cell = c;
            }
            column += 1;
            continue;
        }
        let (mut body, mut last) = (String::new(), ' ');
        for c in rest.by_ref().skip(1) {
            last = c;
            if c.is_ascii_alphabetic() {
                break;
            }
            body.push(c);
        }
        match (last, body.split_once(';')) {
            ('H', Some((to, at))) => {
                (line, column) = (to.parse::<usize>().unwrap() - 1, at.parse::<usize>().unwrap() - 1);
            }
            ('J', _) => lines.iter_mut().for_each(|line| line.fill(' ')),
            _ => {}
        }
    }
    lines.iter().map(|line| line.iter().collect::<String>() + "\n").collect()
}

const COLUMNS: u16 = 100;
const LINES: u16 = 30;
const PAUSE: Duration = Duration::from_millis(50);
/// 30 s: only ever waited in full by a failure.
const TRIES: usize = 600;
