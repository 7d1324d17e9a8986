//! What keeps an agent from starting is told in words, with the right exit code,
//! and costs the others nothing.

mod daemon;

use std::fs;

use daemon::plan;

#[test]
fn a_taken_udp_port_is_named() {
    let agent = plan("a");
    let address = agent.address();
    let _taken = std::net::UdpSocket::bind(&address).unwrap();
    let (code, log) = agent.fails();
    assert_eq!(code, 1);
    assert!(log.contains(&format!("cannot listen on UDP {address}")) && log.contains("--bind"), "{log}");
}

#[test]
fn a_taken_socket_is_refused_with_the_pid_of_its_owner() {
    let first = plan("a").start();
    let socket = first.plan.socket();
    let (code, log) = plan("b").with_socket(&socket).fails();
    assert_eq!(code, 1);
    assert!(log.contains(&format!("pid {}", first.pid())) && log.contains("--socket"), "{log}");
    assert_eq!(first.get("/livez")["status"], "live");
}

#[test]
fn two_agents_never_share_a_state_directory() {
    let first = plan("a").start();
    let dir = first.plan.dir().join("state");
    let (code, log) = plan("b").with_state_dir(&dir).fails();
    assert_eq!(code, 1);
    assert!(log.contains(&format!("pid {}", first.pid())) && log.contains("--state-dir"), "{log}");
}

#[test]
fn a_state_directory_that_cannot_be_made_is_named() {
    let agent = plan("a");
    let file = agent.dir().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("state");
    let (code, log) = agent.with_state_dir(&below).fails();
    assert_eq!(code, 1);
    assert!(log.contains(below.to_str().unwrap()), "{log}");
}

#[test]
fn after_a_kill_the_socket_is_replaced_and_the_generation_rises() {
    let agent = plan("a").start();
    let before = agent.get("/v1/self");
    let agent = agent.restart();
    let after = agent.get("/v1/self");
    assert!(after["member"]["generation"].as_u64() > before["member"]["generation"].as_u64());
    assert_eq!(after["member"]["host_id"], before["member"]["host_id"]);
}

#[test]
fn a_generation_from_the_future_is_outdone_by_the_next_start() {
    let agent = plan("a").start();
    let ahead = agent.get("/v1/self")["member"]["generation"].as_u64().unwrap() + 3_600_000;
    let mut agent = agent;
    agent.kill();
    // As if the clock had been an hour ahead during the life before.
    let line = ahead.to_string();
    let stored = format!("{:08x} {line}\n", crc32fast::hash(line.as_bytes()));
    fs::write(agent.plan.dir().join("state/generation"), stored).unwrap();
    let agent = agent.again();
    assert_eq!(agent.get("/v1/self")["member"]["generation"].as_u64().unwrap(), ahead + 1);
}

#[test]
fn values_that_no_start_could_accept_are_exit_code_2() {
    let (code, log) = plan(&"n".repeat(200)).fails();
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("--name") && log.contains("too long"), "{log}");
    let (code, log) = plan("a").flags(&["--tag", &format!("big={}", "v".repeat(800))]).fails();
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("tag/big"), "{log}");
    let agent = plan("a");
    let keys = agent.dir().join("keys");
    fs::write(&keys, "AAAA-secret\n").unwrap();
    let (code, log) = agent.flags(&["--key-file", keys.to_str().unwrap()]).fails();
    assert_eq!(code, 2, "{log}");
    assert!(log.contains(keys.to_str().unwrap()) && !log.contains("AAAA-secret"), "{log}");
}

#[test]
fn bad_usage_is_exit_code_2_and_says_where() {
    let (code, log) = plan("a").flags(&["--no-such-flag"]).fails();
    assert_eq!(code, 2, "{log}");
    let (code, log) = plan("a").variable("HEARTSAY_INTERVAL", "2").fails();
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("HEARTSAY_INTERVAL") && log.contains("duration"), "{log}");
    let agent = plan("a");
    let config = agent.dir().join("heartsay.toml");
    fs::write(&config, "zone = \"z\"\nintervall = \"1s\"\n").unwrap();
    let (code, log) = agent.flags(&["--config", config.to_str().unwrap()]).fails();
    assert_eq!(code, 2, "{log}");
    assert!(log.contains(&format!("{}:2: intervall", config.display())), "{log}");
    assert!(log.contains("did you mean \"interval\"?"), "{log}");
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let agent = plan("a");
    let config = agent.dir().join("heartsay.toml");
    fs::write(&config, "interval = \"3s\"\nzone = \"file\"\nexpected = 9\n").unwrap();
    let agent = agent
        .flags(&["--config", config.to_str().unwrap(), "--interval", "1s"])
        .variable("HEARTSAY_INTERVAL", "2s")
        .variable("HEARTSAY_ZONE", "variable")
        .variable("HEARTSAY_TAGS", "role=web,rack=7,")
        .variable("HEARTSAY_SEEDS", "")
        .variable("HEARTSAY_SEED", "10.0.0.1")
        .start();
    let log = agent.wait_log("HEARTSAY_SEED is set and is no setting; did you mean HEARTSAY_SEEDS?");
    assert!(!log.contains("HEARTSAY_ZONE is set"), "{log}");
    let config_shown = agent.get("/v1/config");
    let shown = |key: &str| {
        let all = config_shown.as_array().unwrap();
        let one = all.iter().find(|shown| shown["key"] == key).unwrap();
        (one["value"].as_str().unwrap_or("").to_owned(), one["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(shown("interval"), ("1s".into(), "--interval".into()));
    assert_eq!(shown("zone"), ("variable".into(), "HEARTSAY_ZONE".into()));
    assert_eq!(shown("expected"), ("9".into(), format!("{}:3", config.display())));
    assert_eq!(shown("tags.rack"), ("7".into(), "HEARTSAY_TAGS".into()));
    assert_eq!(shown("seeds"), (String::new(), "default".into()));
    assert_eq!(shown("datagram_size"), ("1200".into(), "default".into()));
}

#[test]
fn a_seed_elsewhere_decides_which_address_is_advertised() {
    let seed = plan("seed").start();
    let agent = plan("a").without_bind().seed(&seed.address()).flags(&["--bind", "0.0.0.0:0"]).start();
    // The seed is on this machine, so the way to it starts on this machine.
    let address = agent.get("/v1/self")["member"]["address"].as_str().unwrap().to_owned();
    assert!(address.starts_with("127."), "{address}");
    seed.wait_status("a", "alive");
}
