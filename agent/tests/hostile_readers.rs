//! Readers that mean harm, over real sockets: what they do disturbs neither the agent, nor those that command it, nor
//! the guard of quorum, nor other readers.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that trips over is a test that fails"
)]
#![allow(clippy::disallowed_methods, reason = "how long real agents let their callers wait")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use daemon::{Agent, Plan, plan};
use heartsay_proto::gossip::{Body, Claim, Entry, Packet};
use nix::libc;
use skipped::skipped;

mod daemon;
mod skipped;

/// One attack at a time: together they would show what the machine can do, and not what the agent does.
static ALONE: Mutex<()> = Mutex::new(());

/// An agent whose socket every user may open; `None` where this test cannot act as another user.
fn open_to_all(plan: Plan) -> Option<Agent> {
    if !nix::unistd::Uid::effective().is_root() {
        skipped("only root can act as another user");
        return None;
    }
    let plan = plan.flags(&["--socket-mode", "0666"]);
    fs::set_permissions(plan.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = plan.dir().join("heartsay");
    fs::copy(env!("CARGO_BIN_EXE_heartsay"), &program).unwrap();
    Some(plan.start())
}

/// Does `what` on a thread that is another user's.
fn as_user<T: Send>(uid: u32, what: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let acting = scope.spawn(|| {
            #[expect(
                unsafe_code,
                reason = "of this thread alone, which no library does; takes three numbers"
            )]
            let done = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
            assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
            what()
        });
        acting.join().unwrap()
    })
}

/// The command line as another user.
fn command_as(uid: u32, agent: &Agent, args: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={uid}"), "--regid=4242", "--clear-groups"]);
    command.arg(agent.plan.dir().join("heartsay")).arg("--socket").arg(agent.plan.socket());
    command.args(args).current_dir("/").stdin(Stdio::null());
    command
}

/// So many connections of this user, each with this request or the beginning of one.
fn hoard(uid: u32, socket: &Path, count: usize, request: &str) -> Vec<UnixStream> {
    as_user(uid, || {
        let connect = |_| {
            let mut stream = UnixStream::connect(socket).unwrap();
            let _ = stream.write_all(request.as_bytes());
            stream
        };
        (0..count).map(connect).collect()
    })
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Writers, another reader and the guard of another user are served, and soon.
fn all_are_served(agent: &Agent) {
    let began = Instant::now();
    assert_eq!(agent.post("/v1/beat", "").status, 200);
    assert_eq!(agent.post("/v1/tags", r#"{"set":{"k":"v"}}"#).status, 200);
    assert!(began.elapsed() < Duration::from_secs(2), "writers wait: {:?}", began.elapsed());
    let read = command_as(READER, agent, &["members", "-o", "json"]).output().unwrap();
    assert!(read.status.success(), "another reader: {}", text(&read));
    let guarded =
        command_as(READER, agent, &["exec", "--while-quorum", "--timeout", "20s", "--", "sleep", "2"])
            .output()
            .unwrap();
    assert_eq!(guarded.status.code(), Some(0), "the guard: {}", text(&guarded));
}

#[test]
fn bodies_that_never_end_keep_no_writer_no_guard_and_no_other_reader_out() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let plan = plan("a").flags(&["--expected", "1", "--beat-within", "10m"]);
    let Some(agent) = open_to_all(plan) else { return };
    let endless = "POST /v1/join HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{";
    let _held = hoard(ATTACKER, &agent.plan.socket(), 600, endless);
    // They are no more than about to ask at first.
    thread::sleep(Duration::from_secs(1));
    all_are_served(&agent);
}

#[test]
fn idle_connections_and_unread_streams_of_one_user_keep_no_other_out() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let plan = plan("a").flags(&["--expected", "1", "--beat-within", "10m"]);
    let Some(agent) = open_to_all(plan) else { return };
    let watch = "GET /v1/watch HTTP/1.1\r\nHost: h\r\n\r\n";
    let _streams = hoard(ATTACKER, &agent.plan.socket(), 300, watch);
    let _idle = hoard(ATTACKER, &agent.plan.socket(), 300, "");
    let other = as_user(READER, || {
        let mut stream = UnixStream::connect(agent.plan.socket()).unwrap();
        stream.write_all(watch.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    });
    assert!(other.contains(" 200 "), "a stream for another user: {other}");
    all_are_served(&agent);
}

#[test]
fn an_agent_that_is_out_of_descriptors_gossips_on_and_says_so_once() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        skipped("no prlimit");
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let first = plan("a").start();
    let poor = plan("b").under(&["prlimit", "--nofile=40"]).seed(&first.address()).start();
    first.wait_status("b", "alive");
    let held: Vec<UnixStream> = (0..60).map(|_| UnixStream::connect(poor.plan.socket()).unwrap()).collect();
    poor.wait_log("connections cannot be accepted");
    let heartbeat = || first.get("/v1/members/b")["heartbeat"].as_u64().unwrap();
    let before = heartbeat();
    first.wait_for("b gossips on", |_| heartbeat() > before + 3);
    assert_eq!(first.get("/v1/members/b")["status"], "alive");
    assert_eq!(poor.log().matches("connections cannot be accepted").count(), 1, "{}", poor.log());
    drop(held);
    poor.wait_for("it answers again", |agent| agent.try_get("/livez").is_some());
}

#[test]
fn connections_that_come_again_and_again_keep_no_other_user_out() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let plan = plan("a").flags(&["--expected", "1", "--beat-within", "10m"]);
    let Some(agent) = open_to_all(plan) else { return };
    let socket = agent.plan.socket();
    let over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            as_user(ATTACKER, || {
                let mut held = std::collections::VecDeque::new();
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    // Each is fresh, and so makes room for no other.
                    if let Ok(stream) = UnixStream::connect(&socket) {
                        held.push_back(stream);
                    }
                    if held.len() > 600 {
                        held.pop_front();
                    }
                }
            });
        });
        let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            thread::sleep(Duration::from_secs(1));
            all_are_served(&agent);
        }));
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(served.is_ok());
    });
}

#[test]
fn floods_of_long_questions_delay_neither_the_beat_nor_the_guard() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let plan = plan("a").flags(&["--expected", "1", "--beat-within", "10m"]);
    let Some(agent) = open_to_all(plan) else { return };
    // Some 60 kB with 4,600 filters, asked for without an end on many connections.
    let filters = "tag=k%3Dvalue&".repeat(4_600);
    let question = format!("GET /v1/members?{filters} HTTP/1.1\r\nHost: h\r\n\r\n");
    let over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let mut held = hoard(ATTACKER, &agent.plan.socket(), 30, &question);
                    for stream in &mut held {
                        let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
                        let _ = stream.read(&mut [0; 1024]);
                    }
                }
            });
        }
        let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| all_are_served(&agent)));
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(served.is_ok());
    });
}

#[test]
fn each_limit_of_a_request_is_told_in_a_sentence() {
    let agent = plan("a").flags(&["--beat-within", "10m"]).start();
    let get = |path: &str, headers: &str| agent.ask("GET", path, headers, "");
    let filters = |count: usize| format!("/v1/members?{}", vec!["tag=k"; count].join("&"));
    assert_eq!(get(&filters(64), "").status, 200);
    assert!(get(&filters(65), "").problem(400).contains("at most 64"));
    assert!(get(&filters(65).replace("members", "watch"), "").problem(400).contains("at most 64"));
    let long = format!("/v1/members?tag={}", "k".repeat(9_000));
    assert!(get(&long, "").problem(414).contains("8192 bytes"));
    let head = format!("X-Long: {}\r\n", "x".repeat(20_000));
    assert!(get("/livez", &head).problem(431).contains("16384 bytes"));
    assert!(agent.post("/v1/tags", &" ".repeat(70_000)).problem(413).contains("65536 bytes"));
}

#[test]
fn a_body_that_does_not_come_is_given_up_with_a_sentence() {
    let agent = plan("a").start();
    for path in ["/v1/join", "/v1/leave", "/v1/tags"] {
        let mut stream = UnixStream::connect(agent.plan.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{{").unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.contains(" 408 ") && answer.contains("application/problem+json"), "{path}: {answer}");
    }
    assert_eq!(agent.get("/livez")["status"], "live");
}

#[test]
fn a_caller_that_may_not_change_anything_is_told_before_its_body_is_read() {
    let Some(agent) = open_to_all(plan("a")) else { return };
    let endless = "POST /v1/leave HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n";
    let mut held = hoard(READER, &agent.plan.socket(), 1, endless);
    held[0].set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut answer = String::new();
    BufReader::new(&mut held[0]).read_line(&mut answer).unwrap();
    assert!(answer.contains(" 403 "), "{answer}");
}

/// The first line and the rest of what the agent answers to this request over TCP.
fn over_tcp(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn a_web_page_that_calls_the_agent_by_another_name_gets_nothing() {
    let plan = plan("a");
    let address = format!("{}:4328", plan.ip);
    let own = plan.ip.to_string();
    let agent = plan.flags(&["--http-listen", &address, "--http-host", "metrics.example.net"]).start();
    let ask = |host: &str| {
        let head = format!("GET /v1/members HTTP/1.1\r\nConnection: close\r\nHost: {host}\r\n\r\n");
        over_tcp(&address, &head)
    };
    let this_host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    for host in [&own, &address, "localhost", "LOCALHOST:4328", "metrics.example.net:4328", &this_host] {
        assert!(ask(host).starts_with("HTTP/1.1 200 "), "{host}: {}", ask(host));
    }
    for host in
        ["evil.example", "evil.example:4328", "127.0.0.1.evil.example", "192.0.2.1", "a b", "localhost@evil"]
    {
        let answer = ask(host);
        assert!(
            answer.starts_with("HTTP/1.1 421 ") || answer.starts_with("HTTP/1.1 400 "),
            "{host}: {answer}"
        );
        assert!(!answer.contains("\"members\""), "{host}: {answer}");
    }
    assert!(ask("evil.example").contains("http_hosts"));
    let absolute =
        "GET http://evil.example/v1/members HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\n\r\n";
    assert!(over_tcp(&address, absolute).starts_with("HTTP/1.1 421 "));
    // No browser leaves it out, and some probes do.
    assert!(over_tcp(&address, "GET /livez HTTP/1.0\r\n\r\n").contains(" 200 "));
    assert_eq!(agent.get("/livez")["status"], "live", "on the socket every name is ours");
}

#[test]
fn readers_over_tcp_take_no_place_of_the_socket() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let plan = plan("a").flags(&["--expected", "1", "--beat-within", "10m"]);
    let address = format!("{}:4328", plan.ip);
    let Some(agent) = open_to_all(plan.flags(&["--http-listen", &address])) else { return };
    let held: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            let _ = stream.write_all(b"GET /v1/watch HTTP/1.1\r\nHost: localhost\r\n\r\n");
            stream
        })
        .collect();
    all_are_served(&agent);
    drop(held);
}

/// Tells the agent of this many members, each with a tag of 200 bytes, as another member would.
fn fill(agent: &Agent, members: u16) {
    let cluster = heartsay_proto::Cluster::new("tests").unwrap();
    // One address may not tell of many that the agent has not asked for.
    let teller = |n: u16| UdpSocket::bind((IpAddr::from([127, 77, 0, n.to_be_bytes()[1]]), 0)).unwrap();
    let tellers: Vec<_> = (1..=members.div_ceil(60)).map(teller).collect();
    let unix_ms = u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let claim = |n: u16| Claim {
        generation: unix_ms,
        body: Some(Body {
            name: format!("made-up-{n}"),
            host_id: u128::from(n).to_be_bytes().to_vec().into(),
            ip: [&[127, 250][..], &n.to_be_bytes()].concat().into(),
            port: 9,
            ref_unix_ms: unix_ms,
            interval_ms: 1000,
            ..Body::default()
        }),
        version: 1,
        entries: vec![Entry {
            key: "tag/t".to_owned(),
            value: vec![b'v'; 200].into(),
            version: 1,
            deleted: false,
        }],
        ..Claim::default()
    };
    let known = || agent.get("/v1/stats")["members"].as_u64().unwrap_or(0);
    agent.wait_for("it knows them all", |_| {
        for n in 0..members {
            let packet = Packet { sender: 99, heartbeat: 1, claims: vec![claim(n)], ..Packet::default() };
            let (mut body, mut frame) = (Vec::new(), Vec::new());
            heartsay_proto::encode_packet(&packet, &mut body);
            heartsay_proto::seal(&body, &cluster, &heartsay_proto::Keyring::empty(), [0; 24], &mut frame);
            tellers[usize::from(n / 60)].send_to(&frame, agent.address()).unwrap();
            if n % 16 == 0 {
                thread::sleep(Duration::from_millis(35));
            }
        }
        known() > u64::from(members)
    });
}

/// Memory of the agent in kilobytes.
fn resident(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Processor time of the loop that gossips.
fn protocol_time(agent: &Agent) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap();
    let stat = |task: fs::DirEntry| fs::read_to_string(task.path().join("stat")).unwrap();
    let stat = tasks.map(|task| stat(task.unwrap())).find(|stat| stat.contains("(protocol)")).unwrap();
    // Behind the name: user and system time, in hundredths of a second.
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

#[test]
fn readers_of_a_large_view_cost_neither_the_memory_nor_the_time_of_the_others() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let plan = plan("a").flags(&["--expected", "1", "--beat-within", "10m"]);
    let Some(agent) = open_to_all(plan) else { return };
    fill(&agent, 3000);
    let before = resident(&agent);
    // Large answers that are not taken.
    let question = "GET /v1/members?evidence=true HTTP/1.1\r\nHost: h\r\n\r\n";
    let _unread = hoard(ATTACKER, &agent.plan.socket(), 90, question);
    let _streams = hoard(ATTACKER, &agent.plan.socket(), 90, "GET /v1/watch HTTP/1.1\r\nHost: h\r\n\r\n");
    let over = std::sync::atomic::AtomicBool::new(false);
    let (began, worked) = (Instant::now(), protocol_time(&agent));
    let slowest = thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let mut one =
                        hoard(OTHERS, &agent.plan.socket(), 1, "GET /v1/self HTTP/1.1\r\nHost: h\r\n\r\n");
                    let _ = one[0].read(&mut [0; 1024]);
                }
            });
        }
        let beats = (0..100).map(|_| {
            let began = Instant::now();
            let beat = agent.post("/v1/beat", "").status;
            thread::sleep(Duration::from_millis(20));
            (beat, began.elapsed())
        });
        let beats: Vec<_> = beats.collect();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(beats.iter().all(|(beat, _)| *beat == 200));
        beats.into_iter().map(|(_, took)| took).max().unwrap()
    });
    let grown = resident(&agent).saturating_sub(before);
    let busy = (protocol_time(&agent) - worked).as_secs_f64() / began.elapsed().as_secs_f64();
    println!(
        "slowest beat {slowest:?}, {grown} kB more for readers, the loop busy for {busy:.2} of the time"
    );
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(grown < 64 * 1024, "{grown} kB");
}

const OTHERS: u32 = 4003;
const ATTACKER: u32 = 4001;
const READER: u32 = 4002;
