//! What is shipped beside the program fits the program.

#![allow(clippy::unwrap_used, reason = "a test that trips over is a test that fails")]

mod skipped;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use skipped::skipped;

#[test]
fn the_example_file_is_accepted() {
    let output = heartsay(&["config", "check", packaging("heartsay.toml").to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_example_file_explains_every_setting_and_no_other() {
    let known = keys(&String::from_utf8(heartsay(&["config", "default"]).stdout).unwrap());
    let shown = keys(&std::fs::read_to_string(packaging("heartsay.toml")).unwrap());
    assert!(known.len() > 10, "{known:?}");
    assert_eq!(shown, known);
}

#[test]
fn the_unit_lets_the_agent_see_the_groups_of_its_callers() {
    let unit = std::fs::read_to_string(packaging("heartsay.service")).unwrap();
    // In a user namespace all of them look alike.
    for line in unit.lines() {
        assert!(!line.starts_with("PrivateUsers="), "{line}");
    }
    let manifest = std::fs::read_to_string(packaging("kubernetes.yaml")).unwrap();
    assert!(!manifest.contains("hostUsers: false"));
}

#[test]
fn no_example_puts_a_name_of_another_host_where_an_option_may_stand() {
    let docs = packaging("../../docs");
    let files = ["program.md", "operations.md", "try.md", "embed.md"].map(|name| docs.join(name));
    for file in files.into_iter().chain([packaging("heartsay.toml"), packaging("../../README.md")]) {
        let text = std::fs::read_to_string(&file).unwrap();
        for variable in ["NAME", "REASON", "CHANGED"] {
            for command in
                ["logger", "echo", "mail", "wall", "notify-send", "heartsay why", "heartsay forget"]
            {
                let example = format!("{command} \"$HEARTSAY_{variable}");
                assert!(!text.contains(&example), "{}: {example}", file.display());
            }
            // Not quoted is worse.
            assert!(!text.contains(&format!(" $HEARTSAY_{variable}")), "{}: {variable}", file.display());
        }
    }
}

#[test]
fn every_default_of_the_example_file_can_be_uncommented() {
    let text = std::fs::read_to_string(packaging("heartsay.toml")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let lines = text.lines().map(|line| match setting(line) {
        // These name files and groups that need not exist here.
        Some("key_file" | "socket_group" | "admin_group") | None => line.to_owned(),
        Some(_) => line.trim_start_matches('#').to_owned(),
    });
    let file = dir.path().join("heartsay.toml");
    std::fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let output = heartsay(&["config", "check", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_unit_and_the_images_use_flags_and_variables_that_exist() {
    let help = String::from_utf8(heartsay(&["agent", "--help"]).stdout).unwrap();
    let mut found = 0;
    for file in ["heartsay.service", "Dockerfile", "kubernetes.yaml"] {
        let text = std::fs::read_to_string(packaging(file)).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
        for word in words.filter(|w| w.starts_with("HEARTSAY_")) {
            assert!(help.contains(&format!("[env: {word}]")), "{file}: {word}");
            found += 1;
        }
    }
    let unit = std::fs::read_to_string(packaging("heartsay.service")).unwrap();
    let start = unit.lines().find(|l| l.starts_with("ExecStart=")).unwrap();
    for flag in start.split_whitespace().filter(|w| w.starts_with("--")) {
        assert!(help.contains(&format!("{flag} ")), "{flag}");
        found += 1;
    }
    assert!(found > 6, "{found}");
}

#[test]
fn the_unit_is_never_given_up_and_stays_stopped_when_that_is_meant() {
    let unit = unit();
    let of = |key: &str| unit.iter().filter(|(k, _)| k == key).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    // Some quick exits, a port that is taken for a while, end nothing.
    assert_eq!(of("StartLimitIntervalSec"), ["0"]);
    // `heartsay leave` and `systemctl stop` end with 0, wrong settings with 2, `heartsay restart` with 75.
    assert_eq!(of("Restart"), ["on-failure"]);
    assert_eq!(of("RestartPreventExitStatus"), ["2"]);
    assert_eq!((of("RestartForceExitStatus"), of("SuccessExitStatus")), (vec!["75"], vec!["75"]));
    // Ready alone; a wait for an address extends the time-out itself.
    assert_eq!((of("Type"), of("TimeoutStartSec")), (vec!["notify"], vec![]));
    // Mounted into a container, it shows the socket of the next life too.
    assert_eq!(of("RuntimeDirectoryPreserve"), ["yes"]);
    // In a user namespace all groups of all callers show as "nobody".
    assert_eq!(of("PrivateUsers"), [""; 0]);
    // Skipped while there are no settings: of several with a bar, one is enough.
    let conditions: Vec<_> = unit.iter().filter(|(k, _)| k.starts_with("ConditionPath")).collect();
    assert_eq!(conditions.len(), 3);
    assert!(conditions.iter().all(|(_, path)| path.starts_with('|')), "{conditions:?}");
}

#[test]
fn systemd_understands_the_unit() {
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(packaging("heartsay.service")).unwrap();
    let file = dir.path().join("heartsay.service");
    std::fs::write(&file, text.replace("/usr/bin/heartsay", env!("CARGO_BIN_EXE_heartsay"))).unwrap();
    let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&file).output() else {
        skipped("systemd-analyze is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // These two systemd knows from 254 on.
    let newer = |line: &&str| line.contains("RestartSteps") || line.contains("RestartMaxDelaySec");
    let rest: Vec<_> = said.lines().filter(|line| line.contains("heartsay") && !newer(line)).collect();
    assert_eq!(rest, [""; 0]);
}

#[test]
fn the_documented_lines_install_every_file_also_where_its_directory_is_not_there() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let lines: Vec<_> = docs.lines().filter(|line| line.starts_with("install ")).collect();
    for file in ["heartsay.service", "heartsay.sysusers", "heartsay.tmpfiles", "heartsay.toml"] {
        let line = lines.iter().find(|line| line.contains(&format!("agent/packaging/{file}"))).unwrap();
        assert!(line.starts_with("install -D "), "{line}");
    }
}

#[test]
fn the_unit_reloads_at_the_socket_of_its_agent() {
    let unit = std::fs::read_to_string(packaging("heartsay.service")).unwrap();
    let line = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
    let socket = |command: &str| {
        command.split_whitespace().skip_while(|word| *word != "--socket").nth(1).map(str::to_owned)
    };
    let reload = line("ExecReload=");
    assert!(socket(&reload).is_some());
    assert_eq!(socket(&reload), socket(&line("ExecStart=")));
    let verb = reload.split_whitespace().last().unwrap();
    assert!(heartsay(&[verb, "--help"]).status.success(), "{verb}");
}

#[test]
fn the_manifest_is_one_service_and_one_daemon_set() {
    let text = std::fs::read_to_string(packaging("kubernetes.yaml")).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let kinds: Vec<_> = documents.iter().filter_map(|d| d.get("kind")?.as_str()).collect();
    assert_eq!(kinds, ["Service", "DaemonSet"]);
    let label = "/spec/template/metadata/labels/app.kubernetes.io~1name";
    let selector = "/spec/selector/app.kubernetes.io~1name";
    let of = |i: usize, at: &str| documents.get(i).and_then(|d| d.pointer(at)).cloned();
    assert!(of(0, selector).is_some());
    assert_eq!(of(0, selector), of(1, label), "the service finds the pods");
}

#[test]
fn both_packages_carry_the_same_and_what_they_carry_is_there() {
    let cargo: toml::Table = std::fs::read_to_string(packaging("../Cargo.toml")).unwrap().parse().unwrap();
    let assets = |of: &str| cargo["package"]["metadata"][of]["assets"].as_array().unwrap().clone();
    let deb: BTreeSet<_> = assets("deb").iter().map(|asset| asset[0].as_str().unwrap().to_owned()).collect();
    let rpm: BTreeSet<_> =
        assets("generate-rpm").iter().map(|asset| asset["source"].as_str().unwrap().to_owned()).collect();
    // Those that only one of them knows.
    let own: Vec<_> = deb.difference(&rpm).map(String::as_str).collect();
    assert_eq!(
        own,
        ["packaging/debian/needrestart", "target/release/changelog.gz", "target/release/copyright"]
    );
    let own: Vec<_> = rpm.difference(&deb).map(String::as_str).collect();
    assert_eq!(own, ["LICENSE-APACHE", "LICENSE-MIT"]);
    for source in deb.union(&rpm).filter(|source| !source.starts_with("target/release/")) {
        assert!(packaging("..").join(source).is_file(), "{source}");
    }
}

#[test]
fn the_scripts_of_the_packages_are_scripts_of_sh() {
    let mut seen = 0;
    for dir in ["debian", "rpm", "."] {
        for file in std::fs::read_dir(packaging(dir)).unwrap().map(|entry| entry.unwrap().path()) {
            let text = std::fs::read(&file).unwrap_or_default();
            if dir == "rpm" || text.starts_with(b"#!/bin/sh\n") {
                let output = Command::new("sh").arg("-n").arg(&file).output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                // Upgrades must not say good-bye.
                let text = String::from_utf8(text).unwrap();
                let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
                assert_eq!(
                    code.filter(|line| line.contains("systemctl restart")).count(),
                    0,
                    "{}",
                    file.display()
                );
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 8);
}

/// The lines `key=value` of the unit.
fn unit() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(packaging("heartsay.service")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn packaging(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "packaging", file].iter().collect()
}

fn heartsay(args: &[&str]) -> Output {
    let mut command = assert_cmd::cargo::cargo_bin_cmd!("heartsay");
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("HEARTSAY_")) {
        command.env_remove(key);
    }
    // Without it a user that is not root has no place for a socket.
    command.env("XDG_RUNTIME_DIR", "/run/user/0").args(args).output().unwrap()
}

fn keys(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(setting).map(str::to_owned).collect()
}

/// `key` of the lines `key = …` and `#key = …`.
fn setting(line: &str) -> Option<&str> {
    let (key, _) = line.trim_start_matches('#').split_once(" = ")?;
    key.chars().all(|c| c.is_ascii_lowercase() || c == '_').then_some(key)
}
