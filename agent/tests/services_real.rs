//! Checks and held services against the real thing: PostgreSQL, nginx, a file system that hangs, and a kernel that kills for want of
//! memory. A real systemd is asked in `scripts/ci/services.sh`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;
mod skipped;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use daemon::{Agent, plan};
use nix::sys::signal::Signal;
use serde_json::Value;
use skipped::skipped;

#[test]
fn a_postgresql_that_stops_or_hangs_is_known_everywhere() {
    let Some(postgres) = Postgres::new() else { return };
    postgres.start();
    let (a, b) = with_checks(
        "db",
        &format!(
            "name = \"port\"\ntcp = \"127.0.0.1:{0}\"\ninterval = \"1s\"\nfall = 1\n\n[[service.check]]\nname = \"ready\"\n\
             exec = [\"{1}\", \"-h\", \"127.0.0.1\", \"-p\", \"{0}\", \"-t\", \"1\"]\ninterval = \"1s\"\nwarn = 1\nfall = 2\n",
            postgres.port,
            postgres.bin.join("pg_isready").display(),
        ),
    );
    let mut watches = [a.watch("?service=db", ""), b.watch("?service=db", "")];
    b.wait_for("it serves", |b| health(b, "db") == "passing");

    postgres.signal(Signal::SIGSTOP);
    for kind in ["service-warning", "service-critical"] {
        let reason = watches[0].next_of(kind)["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains("check ready: 127.0.0.1:") && reason.contains("no response"), "{reason}");
        watches[1].next_of(kind);
    }
    let check = |n: usize| a.get("/v1/services/db")["instances"][0]["checks"][n]["health"].clone();
    assert_eq!(check(0), "passing", "the kernel goes on accepting connections, and a tcp check sees no more");
    assert_eq!(check(1), "critical");
    postgres.signal(Signal::SIGCONT);
    watches.iter_mut().for_each(|watch| drop(watch.next_of("service-up")));

    postgres.ctl(&["stop", "-m", "immediate"]);
    let reason = watches[0].next_of("service-critical")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("check port: Connection refused"), "{reason}");
    watches[1].next_of("service-critical");
    postgres.start();
    watches.iter_mut().for_each(|watch| drop(watch.next_of("service-up")));
}

#[test]
fn an_nginx_that_hangs_or_dies_is_known_everywhere() {
    let Some(nginx) = Nginx::start() else { return };
    let (a, b) = with_checks(
        "web",
        &format!(
            "http = \"http://127.0.0.1:{}/health\"\ninterval = \"1s\"\ntimeout = \"500ms\"\nfall = 2\nwarn = 1\n",
            nginx.port
        ),
    );
    let mut watches = [a.watch("?service=web", ""), b.watch("?service=web", "")];
    b.wait_for("it serves", |b| health(b, "web") == "passing");
    nginx.signal(Signal::SIGSTOP);
    let reason = watches[0].next_of("service-warning")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("check http: no answer within 500ms"), "{reason}");
    watches[1].next_of("service-critical");
    nginx.signal(Signal::SIGCONT);
    watches.iter_mut().for_each(|watch| drop(watch.next_of("service-up")));
    nginx.signal(Signal::SIGKILL);
    watches[1].next_of("service-critical");
    assert!(
        a.get("/v1/services/web")["instances"][0]["text"].as_str().unwrap().contains("Connection refused")
    );
}

#[test]
fn a_disk_that_hangs_is_critical_and_the_agent_stays_calm_and_can_end() {
    let plan = plan("a");
    let dir = plan.dir().join("data");
    fs::create_dir(&dir).unwrap();
    let config = plan.dir().join("config.toml");
    let check =
        format!("disk = \"{}\"\ninterval = \"1s\"\ntimeout = \"500ms\"\ngrace = \"0s\"\n", dir.display());
    fs::write(&config, format!("[[service]]\nname = \"files\"\n[[service.check]]\n{check}")).unwrap();
    let mut a = plan.flags(&["--config", config.to_str().unwrap()]).start();
    a.wait_for("it can be written", |a| health(a, "files") == "passing");
    let before = threads(&a);
    let mut watch = a.watch("?service=files", "");
    let Some(hung) = Hung::mount(&dir) else { return };
    let reason = watch.next_of("service-critical")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("check disk: no answer within 500ms"), "{reason}");
    let looked = |a: &Agent| a.get("/v1/services/files")["instances"][0]["checks"][0]["time"].clone();
    for _ in 0..3 {
        let last = looked(&a);
        a.wait_for("it looks again", |a| looked(a) != last);
    }
    assert!(threads(&a) <= before + 1, "{} threads after {before}", threads(&a));
    let stats = a.get("/v1/stats");
    assert_eq!(stats["isolated"], Value::Bool(false), "{stats}");
    a.signal(Signal::SIGTERM);
    assert!(a.wait().success(), "a call that hangs keeps it from ending");
    drop(hung);
}

#[test]
fn a_holder_that_the_kernel_kills_for_its_memory_is_gone_everywhere() {
    let Some(cgroup) = Cgroup::with_memory("32M") else { return };
    let (a, b) = daemon::pair();
    let mut watch = b.watch("?service=hog", "");
    let said = a.plan.dir().join("said");
    let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", cgroup.0.display());
    let mut holder = Command::new("sh")
        .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_heartsay"), "--socket"])
        .arg(a.plan.socket())
        // It keeps a line until its end, of which there is none.
        .args(["exec", "--service", "hog", "--", "sh", "-c", "sleep 1; exec tail /dev/zero"])
        .stderr(fs::File::create(&said).unwrap())
        .spawn()
        .unwrap();
    watch.next_of("service-up");
    watch.next_of("service-gone");
    assert_eq!(holder.wait().unwrap().code(), Some(128 + 9));
    let said = fs::read_to_string(said).unwrap();
    assert!(said.contains("the memory of its cgroup ran out"), "{said}");
}

/// Two agents, of which the first has this service with these checks.
fn with_checks(name: &str, checks: &str) -> (Agent, Agent) {
    let a = plan("a");
    let config = a.dir().join("config.toml");
    fs::write(&config, format!("[[service]]\nname = \"{name}\"\n[[service.check]]\n{checks}")).unwrap();
    let a = a.flags(&["--config", config.to_str().unwrap()]).start();
    let b = plan("b").seed(&a.address()).start();
    b.wait_status("a", "alive");
    (a, b)
}

fn health(agent: &Agent, service: &str) -> String {
    let found = agent.try_get(&format!("/v1/services/{service}")).unwrap_or_default();
    found["instances"][0]["health"].as_str().unwrap_or_default().to_owned()
}

fn threads(agent: &Agent) -> usize {
    fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap().count()
}

/// A port that is free, most likely for a while yet.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn run(command: &mut Command) {
    let done = command.stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// To each process of a program: its first one, and its children.
fn signal_all(first: &str, signal: Signal) {
    let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
    let pids: Vec<_> = [first].into_iter().chain(children.split_whitespace()).collect();
    run(Command::new("kill").arg("-s").arg(&signal.as_str()[3..]).args(pids));
}

/// An instance of its own, which ends with the test.
struct Postgres {
    dir: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
}

impl Postgres {
    fn new() -> Option<Self> {
        let found = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let Some(bin) =
            found.map(|version| version.path().join("bin")).find(|bin| bin.join("initdb").exists())
        else {
            skipped("PostgreSQL is not installed");
            return None;
        };
        if !nix::unistd::geteuid().is_root()
            || nix::unistd::User::from_name("postgres").ok().flatten().is_none()
        {
            skipped("needs root, to run PostgreSQL as its user");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        run(Command::new("chown").arg("postgres").arg(dir.path()));
        let postgres = Self { dir, bin, port: free_port() };
        run(postgres.program("initdb").args(["-A", "trust", "--no-sync", "-D"]).arg(postgres.data()));
        Some(postgres)
    }

    fn start(&self) {
        let options = format!("-h 127.0.0.1 -p {} -k {} -F", self.port, self.dir.path().display());
        let log = self.dir.path().join("log");
        self.ctl(&["start", "-w", "-l", log.to_str().unwrap(), "-o", &options]);
    }

    fn ctl(&self, words: &[&str]) {
        // What it starts must not keep a pipe of ours open.
        let status = self
            .program("pg_ctl")
            .arg("-D")
            .arg(self.data())
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "pg_ctl {words:?}");
    }

    fn signal(&self, signal: Signal) {
        signal_all(&self.pid().unwrap(), signal);
    }

    fn pid(&self) -> Option<String> {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        file.lines().next().map(str::to_owned)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(self.bin.join(name)).current_dir(self.dir.path());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            // To all of them: one that stands still hears nothing else.
            let _ = Command::new("sh")
                .arg("-c")
                .arg(format!("kill -9 $(cat /proc/{pid}/task/{pid}/children) {pid}"))
                .status();
        }
    }
}

struct Nginx {
    _dir: tempfile::TempDir,
    child: Child,
    port: u16,
}

impl Nginx {
    fn start() -> Option<Self> {
        let Some(program) =
            ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists())
        else {
            skipped("nginx is not installed");
            return None;
        };
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let root = dir.path().display();
        let config = format!(
            "daemon off; worker_processes 1; pid {root}/pid; error_log {root}/log;\nevents {{}}\nhttp {{ access_log off; \
             client_body_temp_path {root}/a; proxy_temp_path {root}/b; fastcgi_temp_path {root}/c; uwsgi_temp_path {root}/d; \
             scgi_temp_path {root}/e;\nserver {{ listen 127.0.0.1:{port}; location /health {{ return 204; }} }} }}\n"
        );
        fs::write(dir.path().join("nginx.conf"), config).unwrap();
        let child = Command::new(program)
            .arg("-c")
            .arg(dir.path().join("nginx.conf"))
            .arg("-p")
            .arg(dir.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { _dir: dir, child, port })
    }

    fn signal(&self, signal: Signal) {
        signal_all(&self.child.id().to_string(), signal);
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = self.child.id();
        let _ = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -9 $(cat /proc/{pid}/task/{pid}/children) {pid}"))
            .status();
        let _ = self.child.wait();
    }
}

/// A file system whose server never answers: all that touches it waits until the server ends.
struct Hung {
    server: Child,
    dir: PathBuf,
}

impl Hung {
    fn mount(dir: &Path) -> Option<Self> {
        let script = "exec 3<>/dev/fuse && mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none \"$0\" && \
                      echo mounted && exec sleep 600";
        let mut server = Command::new("sh")
            .args(["-c", script])
            .arg(dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut said).unwrap();
        if said != "mounted\n" {
            skipped("no FUSE can be mounted");
            let _ = server.wait();
            return None;
        }
        Some(Self { server, dir: dir.to_owned() })
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = Command::new("umount").arg("-l").arg(&self.dir).status();
    }
}

/// A cgroup whose memory is limited; of version 2 where that has the controller, or of version 1.
struct Cgroup(PathBuf);

impl Cgroup {
    fn with_memory(limit: &str) -> Option<Self> {
        let name = format!("heartsay-test-{}", std::process::id());
        for (root, file) in
            [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")]
        {
            let dir = Path::new(root).join(&name);
            if fs::create_dir(&dir).is_ok() {
                let cgroup = Self(dir);
                if cgroup.0.join(file).exists() && fs::write(cgroup.0.join(file), limit).is_ok() {
                    // Where there is none, there is nothing to forbid.
                    let _ = fs::write(cgroup.0.join("memory.swap.max"), "0");
                    return Some(cgroup);
                }
            }
        }
        skipped("no cgroup with a limit of memory can be made");
        None
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
