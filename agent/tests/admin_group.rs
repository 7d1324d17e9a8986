//! Who may make changes where the kernel cannot say who a caller is: in a user namespace, all users and groups from
//! outside look like one.

#![allow(clippy::unwrap_used, reason = "a test that trips over is a test that fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use daemon::{Agent, Plan, plan};
use skipped::skipped;

mod daemon;
mod skipped;

/// A plan of an agent in a user namespace of its own, which any user may ask; `None` where this machine does not allow it.
fn in_user_namespace(mapping: &[&str]) -> Option<Plan> {
    let unshare = [&["unshare", "--user"], mapping].concat();
    let [program, arguments @ ..] = unshare.as_slice() else { return None };
    let tried = Command::new(program).args(arguments).arg("true").output();
    if !nix::unistd::Uid::effective().is_root() || !tried.is_ok_and(|output| output.status.success()) {
        skipped("only root can act as another user, and user namespaces must be allowed");
        return None;
    }
    let plan = plan("a").flags(&["--socket-mode", "0666"]).under(&unshare);
    fs::set_permissions(plan.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_heartsay"), plan.dir().join("heartsay")).unwrap();
    Some(plan)
}

/// The command line as a user from outside, in this group.
fn as_stranger(agent: &Agent, group: &str, args: &[&str]) -> Output {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=4001", &format!("--regid={group}"), "--clear-groups"]);
    command.arg(agent.plan.dir().join("heartsay")).arg("--socket").arg(agent.plan.socket());
    command.args(args).current_dir("/").stdin(Stdio::null()).output().unwrap()
}

fn may_read_only(agent: &Agent, group: &str) {
    assert!(as_stranger(agent, group, &["members"]).status.success());
    let output = as_stranger(agent, group, &["tags", "set", "x=y"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("may read only"), "{said}");
}

#[test]
fn the_group_of_those_without_a_group_is_refused_as_admin_group() {
    let (code, log) = plan("a").flags(&["--admin-group", "65534"]).fails();
    assert!(code == 2 && log.contains("--admin-group") && log.contains("make a group of its own"), "{log}");
    if let Some(plan) = in_user_namespace(&["--map-root-user"]) {
        assert_eq!(plan.flags(&["--admin-group", "65534"]).fails().0, 2);
    }
}

#[test]
fn a_stranger_is_not_the_agents_own_user_where_both_look_like_nobody() {
    let Some(plan) = in_user_namespace(&["--map-user=65534", "--map-group=65534"]) else { return };
    may_read_only(&plan.start(), "4242");
}

#[test]
fn a_group_that_the_agents_namespace_does_not_know_makes_no_admin() {
    let Some(plan) = in_user_namespace(&["--map-root-user"]) else { return };
    may_read_only(&plan.flags(&["--admin-group", "4242"]).start(), "4242");
}
