//! Names in the DNS with real agents, asked by a small client, by dig, and by the resolver of the system through dnsmasq. What
//! this machine does not have is said and skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]
#![allow(clippy::disallowed_methods, reason = "a program of one's own has a clock of its own")]

mod daemon;
mod network;
mod skipped;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use daemon::{Agent, Plan, plan};
use domain::base::iana::{Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::{A, Srv};
use jiff::Timestamp;
use network::Network;
use skipped::skipped;

#[test]
fn names_follow_the_members_and_a_death_is_told_at_once() {
    let a = answering("a");
    let mut b = web("b", &a, "8080");
    let c = web("c", &a, "8081");
    let role = "web.role.tests.heartsay";
    a.wait_for("both have the role", |a| ask(a, role).addresses() == ips(&[&b, &c]));
    assert_eq!(ask(&a, "a.tests.heartsay").addresses(), ips(&[&a]), "it has a name itself");
    let services = query(&a, "_web._tcp.tests.heartsay", Rtype::SRV).services();
    assert_eq!(services, ["b.tests.heartsay:8080", "c.tests.heartsay:8081"]);
    let agents = query(&a, "_heartsay._udp.tests.heartsay", Rtype::SRV).services();
    assert_eq!(agents.len(), 3);
    assert_eq!(ask(&a, "x.tests.heartsay").rcode(), Rcode::NXDOMAIN);
    assert_eq!(ask(&a, "b.other.heartsay").rcode(), Rcode::REFUSED);

    let mut watch = a.watch("?type=member-down", "");
    // The view as it is.
    watch.line();
    b.kill();
    while ask(&a, role).addresses().len() > 1 {
        thread::sleep(Duration::from_millis(1));
    }
    let told = Timestamp::now();
    let verdict: Timestamp = watch.until("member-down", "b")["time"].as_str().unwrap().parse().unwrap();
    let ms = told.duration_since(verdict).as_secs_f64() * 1e3;
    // Not `eprintln`, which the test harness catches.
    let _ = writeln!(std::io::stderr(), "out of the role {ms:.1} ms after the verdict");
    // Wanted: 100 ms. As a suspect it is out before the verdict. Generous, for a loaded machine.
    assert!(ms < 2000.0);
    a.wait_for("its name has no address", |a| ask(a, "b.tests.heartsay").addresses().is_empty());
    assert_eq!(ask(&a, "b.tests.heartsay").rcode(), Rcode::NOERROR, "it is known to be down");
    let b = b.again();
    a.wait_for("it is back", |a| ask(a, role).addresses() == ips(&[&b, &c]));

    let metrics = a.ask("GET", "/metrics", "", "").body;
    for line in [
        "dns_members{cluster=\"tests\"} 3",
        "dns_left_out{cluster=\"tests\"} 0",
        "dns_held{cluster=\"tests\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let count = |result: &str| {
        let series = format!("heartsay_dns_answers_total{{cluster=\"tests\",result=\"{result}\"}} ");
        let rest = metrics.split(&series).nth(1).unwrap();
        rest.lines().next().unwrap().parse::<u64>().unwrap()
    };
    assert!(count("found") > 5 && count("no-name") == 1 && count("refused") == 1 && count("malformed") == 0);
    assert!(!c.ask("GET", "/metrics", "", "").body.contains("heartsay_dns"), "nobody turned it on there");
}

#[test]
fn a_service_has_names_and_is_out_of_them_when_its_process_is_killed_or_it_is_critical() {
    let a = answering("a");
    let b = plan("b").flags(&["--config", "/dev/null"]).seed(&a.address()).start();
    let c = web("c", &a, "7000");
    let mut holder = Holder::start(&b, "web", "8080");
    assert_eq!(c.post("/v1/services", r#"{"name":"web","port":8081}"#).status, 200);
    let elsewhere = r#"{"name":"web","id":"two","port":8082,"address":"10.1.0.7"}"#;
    assert_eq!(c.post("/v1/services", elsewhere).status, 200);
    let (own, shared) = ("web.service.tests.heartsay", "_web._tcp.tests.heartsay");
    let places = |a: &Agent, name: &str| query(a, name, Rtype::SRV).services();
    let of_c = ["0a010007.addr.tests.heartsay:8082", "c.tests.heartsay:8081"].map(str::to_owned);
    let all = [&of_c[..1], &["b.tests.heartsay:8080".to_owned()], &of_c[1..]].concat();
    a.wait_for("all are behind the service", |a| places(a, own) == all);
    assert_eq!(places(&a, shared), all, "c is there by its instances and not by its role");
    let mut addresses = [&ips(&[&b, &c])[..], &["10.1.0.7".to_owned()]].concat();
    addresses.sort();
    assert_eq!(ask(&a, own).addresses(), addresses);
    assert_eq!(ask(&a, "0a010007.addr.tests.heartsay").addresses(), ["10.1.0.7"]);
    assert_eq!(ask(&a, "db.service.tests.heartsay").rcode(), Rcode::NXDOMAIN);
    if is_there("dig") {
        let server = format!("@{}", a.plan.ip);
        let dig = |args: &[&str]| dig(&[&[&server, "-p", "4329", "+norec"], args].concat());
        let said = dig(&[shared, "SRV"]);
        assert!(
            said.contains("ANSWER: 3, AUTHORITY: 0, ADDITIONAL: 4") && !said.contains("WARNING"),
            "{said}"
        );
        let target = "0a010007.addr.tests.heartsay.";
        let lines: Vec<String> =
            said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in [format!("{shared}. 1 IN SRV 0 0 8082 {target}"), format!("{target} 1 IN A 10.1.0.7")] {
            assert!(lines.contains(&line), "{line}: {said}");
        }
        assert_eq!(dig(&["+short", target]), "10.1.0.7\n");
        assert_eq!(dig(&["+short", own]).lines().count(), 3);
        assert!(dig(&[own, "AAAA"]).contains("status: NOERROR"), "no such addresses");
    }

    let killed = Instant::now();
    holder.kill();
    while places(&a, shared) != of_c {
        assert!(killed.elapsed() < Duration::from_secs(30), "{:?}", places(&a, shared));
        thread::sleep(Duration::from_millis(1));
    }
    let _ = writeln!(std::io::stderr(), "out of the service {:.1?} after the kill", killed.elapsed());
    // Wanted: 100 ms. Generous, for a loaded machine.
    assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
    assert_eq!(ask(&a, "b.tests.heartsay").addresses(), ips(&[&b]), "its host is well");
    let says = |id: &str, health: &str| {
        let body = format!("{{\"name\":\"web\",\"id\":\"{id}\",\"health\":\"{health}\"}}");
        assert_eq!(c.post("/v1/services/health", &body).status, 204);
    };
    says("two", "warning");
    says("", "critical");
    a.wait_for("one with a warning serves", |a| places(a, own) == of_c[..1]);
    assert_eq!(places(&a, shared), of_c[..1], "nor is a critical one there by its role");
    says("two", "critical");
    a.wait_for("none is left", |a| places(a, own).is_empty());
    for (name, rtype) in [(own, Rtype::A), (own, Rtype::SRV), (shared, Rtype::SRV)] {
        assert_eq!(query(&a, name, rtype).rcode(), Rcode::NOERROR, "{name}");
    }
    says("", "passing");
    a.wait_for("one is back at once", |a| places(a, own) == of_c[1..]);
    for id in ["", "two"] {
        c.post("/v1/services/deregister", &format!("{{\"name\":\"web\",\"id\":\"{id}\"}}"));
    }
    a.wait_for("nobody tells of it", |a| query(a, own, Rtype::SRV).rcode() == Rcode::NXDOMAIN);
    assert_eq!(places(&a, shared), ["c.tests.heartsay:7000"], "by its role again");
}

#[test]
fn a_name_that_is_none_is_left_out_and_counted() {
    let a = answering("a");
    let _odd = web("x;y", &a, "80");
    let _port = web("good", &a, "80\nevil");
    a.wait_for("both are behind the role", |a| ask(a, "web.role.tests.heartsay").addresses().len() == 2);
    assert_eq!(ask(&a, "good.tests.heartsay").addresses().len(), 1);
    assert_eq!(query(&a, "_web._tcp.tests.heartsay", Rtype::SRV).rcode(), Rcode::NXDOMAIN);
    let metrics = a.ask("GET", "/metrics", "", "").body;
    assert!(metrics.contains("heartsay_dns_left_out{cluster=\"tests\"} 1"), "{metrics}");
    a.wait_log("members have no name or role in the DNS");
}

#[test]
fn one_that_has_not_joined_does_not_say_that_a_name_is_not_there() {
    let alone = with_dns(plan("b")).seed("127.0.0.9:1").start();
    assert_eq!(ask(&alone, "b.tests.heartsay").rcode(), Rcode::SERVFAIL);
    assert!(alone.ask("GET", "/metrics", "", "").body.contains("heartsay_dns_held{cluster=\"tests\"} 1"));
}

#[test]
fn most_others_lost_at_once_keep_their_names_for_a_while() {
    let a = answering("a");
    let mut others = [web("b", &a, "80"), web("c", &a, "80")];
    let served = |a: &Agent| ask(a, "web.role.tests.heartsay").addresses().len();
    a.wait_for("both are behind the role", |a| served(a) == 2);
    for other in &mut others {
        other.kill();
    }
    a.wait_status("b", "down");
    a.wait_status("c", "down");
    let down = Instant::now();
    let conditions = |a: &Agent| a.get("/v1/self")["conditions"].to_string();
    let kept = "the names in the DNS are kept as they were: most others were lost at the same time";
    a.wait_for("they are kept", |a| conditions(a).contains(kept));
    // The first of the two may be called down before the second is missed.
    assert!(served(&a) >= 1);
    a.wait_for("it is believed in the end", |a| served(a) == 0);
    assert!(down.elapsed() > Duration::from_secs(5), "{:?}", down.elapsed());
    assert!(!conditions(&a).contains(kept), "{}", conditions(&a));
}

#[test]
fn connections_are_answered_in_order_and_those_that_waste_time_are_closed() {
    let a = answering("a");
    let at = (a.plan.ip, PORT);
    let connect = || {
        let stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    let mut stream = connect();
    let both =
        [framed(&question("a.tests.heartsay", Rtype::A)), framed(&question("x.tests.heartsay", Rtype::A))];
    // In two parts, the first with all but the last byte.
    let (last, first) = (both[1].last().unwrap(), both.concat());
    stream.write_all(&first[..first.len() - 1]).unwrap();
    assert_eq!(received(&mut stream).unwrap().addresses(), ips(&[&a]));
    stream.write_all(&[*last]).unwrap();
    assert_eq!(received(&mut stream).unwrap().rcode(), Rcode::NXDOMAIN);
    for wrong in [&b"\xff\xff"[..], b"\0\x04abcd", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = connect();
        stream.write_all(wrong).unwrap();
        assert!(received(&mut stream).is_none(), "{wrong:?}");
    }
    let began = Instant::now();
    let mut idle: Vec<TcpStream> = (0..64).map(|_| connect()).collect();
    a.wait_for("a further one has no place", |_| {
        let mut stream = connect();
        let _ = stream.write_all(&framed(&question("a.tests.heartsay", Rtype::A)));
        received(&mut stream).is_none()
    });
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(ask(&a, "a.tests.heartsay").addresses().len(), 1, "datagrams need no place");
    assert!(received(idle.last_mut().unwrap()).is_none());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let metrics = a.ask("GET", "/metrics", "", "").body;
    assert!(!metrics.contains("heartsay_dns_connections_refused_total{cluster=\"tests\"} 0"), "{metrics}");
}

#[test]
fn a_long_list_is_cut_and_whole_over_tcp() {
    let a = answering("a");
    let members: Vec<Agent> = (0..30).map(|n| web(&format!("w{n}"), &a, "80")).collect();
    a.wait_for("all are members", |a| a.get("/v1/self")["counts"]["alive"] == 31);
    a.wait_for("a datagram does not hold them", |a| ask(a, "web.role.tests.heartsay").0.header().tc());
    assert!(ask(&a, "web.role.tests.heartsay").0.as_slice().len() <= 512);
    let mut stream = TcpStream::connect((a.plan.ip, PORT)).unwrap();
    stream.write_all(&framed(&question("web.role.tests.heartsay", Rtype::A))).unwrap();
    let whole = received(&mut stream).unwrap();
    assert_eq!((whole.addresses().len(), whole.0.header().tc()), (members.len(), false));
    if is_there("dig") {
        let server = format!("@{}", a.plan.ip);
        let dig = |args: &[&str]| dig(&[&[&server, "-p", "4329", "web.role.tests.heartsay"], args].concat());
        assert_eq!(dig(&["+short"]).lines().count(), 30);
        assert_eq!(dig(&["+noedns", "+short"]).lines().count(), 30, "comes again over TCP");
        assert!(dig(&["+noedns", "+ignore"]).contains("flags: qr aa tc rd;"));
        assert!(dig(&["+noedns"]).contains("(TCP)"));
    }
}

#[test]
fn dig_understands_it() {
    if !is_there("dig") {
        return;
    }
    let a = answering("a");
    let _b = web("b", &a, "80");
    a.wait_for("b is there", |a| !ask(a, "b.tests.heartsay").addresses().is_empty());
    let server = format!("@{}", a.plan.ip);
    let dig = |args: &[&str]| {
        let said = dig(&[&[&server, "-p", "4329"], args].concat());
        // What it finds fault with, it says so.
        assert!(
            !said.contains("WARNING") && !said.contains(";; Got bad") && !said.contains("malformed"),
            "{said}"
        );
        said
    };
    let found = dig(&["b.tests.heartsay", "+norec"]);
    assert!(found.contains("status: NOERROR") && found.contains("flags: qr aa;"), "{found}");
    assert!(found.contains("udp: 1232") && found.contains("b.tests.heartsay.\t1\tIN\tA\t127."), "{found}");
    let none = dig(&["x.tests.heartsay", "+norec"]);
    assert!(none.contains("status: NXDOMAIN") && none.contains("tests.heartsay.\t\t1\tIN\tSOA"), "{none}");
    let nothing = dig(&["b.tests.heartsay", "TXT", "+norec"]);
    assert!(nothing.contains("NOERROR") && nothing.contains("AUTHORITY: 1"), "{nothing}");
    assert!(dig(&["b.tests.heartsay", "ANY", "+norec", "+notcp"]).contains("HINFO\t\"RFC8482\""));
    assert!(dig(&["example.org", "+norec"]).contains("status: REFUSED"));
    assert!(dig(&["tests.heartsay", "AXFR", "+norec"]).contains("Transfer failed"));
    assert!(dig(&["version.bind", "CH", "TXT", "+norec"]).contains("status: REFUSED"));
    assert!(
        dig(&["b.tests.heartsay", "+norec", "+edns=1", "+noednsnegotiation"]).contains("status: BADVERS")
    );
    assert!(dig(&["b.tests.heartsay", "+norec", "+opcode=NOTIFY", "+noedns"]).contains("status: NOTIMP"));
    assert!(dig(&["B.tEsTs.HeArTsAy", "+norec", "+dnssec", "+cookie", "+tcp"]).contains("B.tEsTs.HeArTsAy."));
}

#[test]
fn an_address_that_others_reach_is_refused_unless_it_is_meant() {
    let (code, log) = plan("a").flags(&["--dns-listen", "192.0.2.1:4329"]).fails();
    assert!(code == 2 && log.contains("192.0.2.1:4329 can be reached from other hosts"), "{code}: {log}");
    let a = answering("a");
    let taken = format!("{}:{PORT}", a.plan.ip);
    let (code, log) = plan("b").flags(&["--dns-listen", &taken]).fails();
    assert!(code == 1 && log.contains(&format!("cannot listen on UDP {taken} for the DNS")), "{code}: {log}");
}

#[test]
fn a_host_that_is_cut_off_keeps_its_names() {
    if !is_there("dig") {
        return;
    }
    let Some(mut network) = Network::bare(4, "n") else { return };
    for i in 1..=4 {
        let flags = ["--bind", "0.0.0.0", "--tag", "role=web", "--dns-listen", "127.0.0.1"];
        network.agent(i, &[&flags[..], &["--seed", "10.77.0.2", "--seed", "10.77.0.3"]].concat());
    }
    let space = network.namespace(1);
    let served = || {
        let dig = ["netns", "exec", &space, "dig", "+short", "+tries=1", "@127.0.0.1", "-p", "4329"];
        let output = Command::new("ip").args(dig).arg("web.role.addresses.heartsay").output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().count()
    };
    network.wait("all are behind the role", |_| served() == 4);
    // At rest for a while, so that what is measured is the cut and not the start.
    thread::sleep(Duration::from_secs(3));
    network.script(&["cut", "1"]).expect("cut");
    let cut = Instant::now();
    while cut.elapsed() < Duration::from_secs(15) {
        assert_eq!(served(), 4, "after {:?}: {}", cut.elapsed(), network.log(1));
        thread::sleep(Duration::from_millis(20));
    }
    let doubted = |network: &Network| {
        let members = network.get(1, "/v1/members");
        members["isolated"] == true || members["joined"] == false
    };
    assert!(doubted(&network), "the cut was one");
    network.script(&["heal"]).expect("heal");
    network.wait("it is believed again", |network| !doubted(network));
    assert_eq!(served(), 4);
    network.kill(3);
    network.wait("a death is believed again", |_| served() == 3);
}

/// glibc asks dnsmasq, which asks the agent for what is below `heartsay`.
#[test]
fn the_resolver_of_the_system_finds_the_names_through_dnsmasq() {
    if !is_there("dnsmasq") {
        return;
    }
    let Some(mut network) = Network::bare(2, "g") else { return };
    network.name_server(1, &["--server=/heartsay/127.0.0.1#4329", "--address=/other.example/192.0.2.7"]);
    network.file(
        1,
        "resolv.conf",
        "nameserver 10.77.0.1\noptions timeout:1 attempts:2\nsearch addresses.heartsay\n",
    );
    for i in 1..=2 {
        let flags =
            ["--bind", "0.0.0.0", "--tag", "role=web", "--seed", "10.77.0.2", "--dns-listen", "127.0.0.1"];
        network.agent(i, &flags);
    }
    let space = network.namespace(1);
    let getent = |name: &str| {
        let output =
            Command::new("ip").args(["netns", "exec", &space, "getent", "ahosts", name]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let lines = said.lines().filter(|line| line.contains("STREAM"));
        let mut found: Vec<String> = lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect();
        found.sort();
        found
    };
    network.wait("both are found", |_| getent("web.role.addresses.heartsay") == ["10.77.0.1", "10.77.0.2"]);
    assert_eq!(getent("m2"), ["10.77.0.2"], "by the search list");
    assert_eq!(getent("m7.addresses.heartsay"), [""; 0]);
    assert_eq!(getent("other.example"), ["192.0.2.7"], "the rest is as it was");
    network.kill(2);
    let killed = Instant::now();
    network.wait("m2 is found no more", |_| getent("m2.addresses.heartsay").is_empty());
    let _ = writeln!(std::io::stderr(), "glibc through dnsmasq: {:.1?} after the kill", killed.elapsed());
}

#[test]
fn a_block_in_a_file_of_others_follows_the_members_and_comes_back() {
    let plan = plan("a");
    let (config, hosts) = (plan.dir().join("heartsay.toml"), plan.dir().join("hosts"));
    let block = format!(
        "[[export]]\nformat = \"hosts\"\npath = \"{}\"\nblock = true\ndomain = \"hs.internal\"\nsettle = \"100ms\"\n",
        hosts.display()
    );
    fs::write(&config, block).unwrap();
    let a = plan.flags(&["--config", config.to_str().unwrap()]).start();
    let row = |a: &Agent| a.get("/v1/exports")["exports"][0].clone();
    a.wait_for("it says what is missing", |a| {
        row(a)["error"].to_string().contains("no file to write a block")
    });
    let (above, below) = ("127.0.0.1\tlocalhost  # mine\r\n\n", "::1 ip6-localhost");
    fs::write(&hosts, above).unwrap();
    fs::set_permissions(&hosts, fs::Permissions::from_mode(0o600)).unwrap();
    let listed = |names: &[&Agent]| -> String {
        let line = |agent: &&Agent| format!("{} {}.hs.internal\n", agent.plan.ip, agent.plan.name);
        let lines: String = names.iter().map(line).collect();
        format!("# heartsay begin\n# Written by heartsay; changes are lost.\n{lines}# heartsay end\n")
    };
    let text = || fs::read_to_string(&hosts).unwrap();
    a.wait_for("the block is there", |a| text() == format!("{above}{}", listed(&[a])));
    fs::write(&hosts, text() + below).unwrap();
    let mut b = web("b", &a, "80");
    a.wait_for("b is in it", |a| text() == format!("{above}{}{below}", listed(&[a, &b])));
    b.kill();
    a.wait_for("b is out of it", |a| text() == format!("{above}{}{below}", listed(&[a])));
    assert_eq!(fs::metadata(&hosts).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(&hosts, below).unwrap();
    a.wait_for("it comes back", |a| text() == format!("{below}\n{}", listed(&[a])));
    fs::write(&hosts, format!("{below}\n# heartsay begin\n")).unwrap();
    a.wait_for("half a block is told", |a| row(a)["error"].to_string().contains("are no pair"));
    assert_eq!(text(), format!("{below}\n# heartsay begin\n"));
}

const PORT: u16 = 4329;

/// With names, at its own address.
fn with_dns(plan: Plan) -> Plan {
    let at = plan.ip.to_string();
    plan.flags(&["--config", "/dev/null", "--dns-listen", &at])
}

fn answering(name: &str) -> Agent {
    let agent = with_dns(plan(name)).start();
    agent.wait_for("it answers names", |agent| {
        !ask(agent, &format!("{name}.tests.heartsay")).addresses().is_empty()
    });
    agent
}

fn web(name: &str, seed: &Agent, port: &str) -> Agent {
    let plan = plan(name).flags(&["--config", "/dev/null", "--tag", "role=web"]);
    plan.flags(&["--tag", &format!("port={port}")]).seed(&seed.address()).start()
}

/// A program that holds a service of an agent; killed when the test lets go of it.
struct Holder(Child);

impl Holder {
    fn start(agent: &Agent, service: &str, port: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heartsay"));
        command.arg("--socket").arg(agent.plan.socket());
        command.args(["exec", "--service", service, "--service-port", port, "--", "cat"]);
        // What it runs ends with it: nothing more comes from its input.
        Self(command.stdin(Stdio::piped()).spawn().unwrap())
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.kill();
    }
}

/// As [`Told::addresses`] has them.
fn ips(agents: &[&Agent]) -> Vec<String> {
    let mut ips: Vec<String> = agents.iter().map(|agent| agent.plan.ip.to_string()).collect();
    ips.sort();
    ips
}

fn question(name: &str, rtype: Rtype) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec().question();
    builder.header_mut().set_id(4327);
    builder.push((Name::<Vec<u8>>::vec_from_str(name).unwrap(), rtype)).unwrap();
    builder.finish()
}

fn framed(question: &[u8]) -> Vec<u8> {
    [&u16::try_from(question.len()).unwrap().to_be_bytes(), question].concat()
}

/// An answer.
struct Told(Message<Vec<u8>>);

fn ask(agent: &Agent, name: &str) -> Told {
    query(agent, name, Rtype::A)
}

/// By a datagram.
fn query(agent: &Agent, name: &str, rtype: Rtype) -> Told {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.send_to(&question(name, rtype), (agent.plan.ip, PORT)).unwrap();
    let mut answer = vec![0; 2000];
    let (length, from) = socket.recv_from(&mut answer).unwrap();
    assert_eq!(from, (agent.plan.ip, PORT).into());
    answer.truncate(length);
    Told(Message::from_octets(answer).unwrap())
}

/// The next one over a connection; `None` if that was closed.
fn received(stream: &mut TcpStream) -> Option<Told> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer).unwrap();
    Some(Told(Message::from_octets(answer).unwrap()))
}

impl Told {
    fn rcode(&self) -> Rcode {
        self.0.header().rcode()
    }

    /// In order: an answer begins anywhere in its list.
    fn addresses(&self) -> Vec<String> {
        let records = self.0.answer().unwrap().limit_to::<A>();
        let mut found: Vec<String> =
            records.map(|record| record.unwrap().data().addr().to_string()).collect();
        found.sort();
        found
    }

    fn services(&self) -> Vec<String> {
        let records = self.0.answer().unwrap().limit_to::<Srv<_>>();
        let text = |srv: &Srv<_>| format!("{}:{}", srv.target(), srv.port());
        let mut found: Vec<String> = records.map(|record| text(record.unwrap().data())).collect();
        found.sort();
        found
    }
}

fn dig(args: &[&str]) -> String {
    let output = Command::new("dig").args(["+tries=2", "+time=10"]).args(args).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        skipped(format!("{program} is not installed"));
    }
    found
}
