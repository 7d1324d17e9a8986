//! The instances of this host: who registered each, and until when it stands.
//!
//! One task owns them. It makes of all instances of a name the value in this member's state and has the machine set it;
//! what the machine refuses is not registered. Three kinds of owners:
//!
//! - the settings: until a reload takes it away
//! - the API: until it is deregistered, or the agent ends
//! - a connection, which holds it: until that ends, in whatever way
//!
//! Nothing is kept on the disk: the next life of the agent begins with the settings alone.
//!
//! The health of an instance is the worst of what its owner has said and what its [checks](super::check) make of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use heartsay_membership::{Command, Rejected};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::check::{Check, Effect, MOST_CHECKS, Running, Tools, UNKNOWN};
use super::entry::{Entries, Entry, Owner, critical};
use super::instance::{self, Health, MOST_INSTANCES, Registration, ServiceName};
use crate::daemon::driver::Request;
use crate::types::ServiceCheck;

/// The way to the task.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    to: mpsc::UnboundedSender<Wish>,
    reasons: Reasons,
}

/// Why instances of this host are not passing, or have just gone: said before the machine is told, for those who tell of it then.
pub(crate) type Reasons = Arc<Mutex<BTreeMap<Key, String>>>;

/// The other end: what the task is made of.
#[derive(Debug)]
pub(crate) struct Inbox(mpsc::UnboundedReceiver<Wish>);

/// Why a wish is not granted. Nothing was changed.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Another has it.
    Taken(String),
    /// There is no such instance here.
    Unknown(String),
    /// The machine does not take it.
    Rejected(Rejected),
    /// Too many.
    Full,
    TooManyChecks,
    /// The agent stops.
    Stopping,
}

/// Which instance of this host.
pub(crate) type Key = (ServiceName, String);

/// What only this host knows of an instance of its own.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    /// Who registered it.
    pub(crate) owner: Owner,
    /// What its owner, or the worst of its checks, says about its health.
    pub(crate) text: Option<String>,
    /// Its checks.
    pub(crate) checks: Vec<ServiceCheck>,
}

/// A registered instance with its connection; dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Held {
    registry: Registry,
    number: u64,
    /// Fires when it is deregistered otherwise.
    pub(crate) ended: CancellationToken,
}

impl Drop for Held {
    fn drop(&mut self) {
        // The task may have ended before, and everything with it.
        let _ = self.registry.to.send(Wish::Release(self.number));
    }
}

/// What the task is asked for. There are no more of them than callers that wait and connections that end.
#[derive(Debug)]
enum Wish {
    Register(Registration, Owner, Reply<Held>),
    Deregister(Key, Reply<()>),
    Health(Key, Health, Option<String>, Reply<()>),
    Settings(Vec<Registration>, Reply<()>),
    Release(u64),
    Own(oneshot::Sender<BTreeMap<Key, Own>>),
}

type Reply<T> = oneshot::Sender<Result<T, Refused>>;

impl Registry {
    /// The way to a task that does not run yet.
    pub(crate) fn new() -> (Self, Inbox) {
        let (to, from) = mpsc::unbounded_channel();
        (Self { to, reasons: Reasons::default() }, Inbox(from))
    }

    /// Why instances of this host are not passing, or have just gone.
    pub(crate) fn reasons(&self) -> Reasons {
        Arc::clone(&self.reasons)
    }

    /// Registers an instance. One that a connection holds is gone with what is returned; for others that means nothing.
    pub(crate) async fn register(&self, what: Registration, owner: Owner) -> Result<Held, Refused> {
        self.ask(|reply| Wish::Register(what, owner, reply)).await
    }

    /// Takes an instance away, but none of the settings.
    pub(crate) async fn deregister(&self, key: Key) -> Result<(), Refused> {
        self.ask(|reply| Wish::Deregister(key, reply)).await
    }

    /// Says how an instance is. The text stays here.
    pub(crate) async fn health(&self, key: Key, health: Health, text: Option<String>) -> Result<(), Refused> {
        self.ask(|reply| Wish::Health(key, health, text, reply)).await
    }

    /// Replaces what the settings have registered, as a whole or not at all.
    pub(crate) async fn settings(&self, all: Vec<Registration>) -> Result<(), Refused> {
        self.ask(|reply| Wish::Settings(all, reply)).await
    }

    /// What only this host knows.
    pub(crate) async fn own(&self) -> BTreeMap<Key, Own> {
        let (reply, answer) = oneshot::channel();
        let _ = self.to.send(Wish::Own(reply));
        answer.await.unwrap_or_default()
    }

    async fn ask<T>(&self, wish: impl FnOnce(Reply<T>) -> Wish) -> Result<T, Refused> {
        let (reply, answer) = oneshot::channel();
        self.to.send(wish(reply)).map_err(|_| Refused::Stopping)?;
        answer.await.unwrap_or(Err(Refused::Stopping))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(text) | Self::Unknown(text) => f.write_str(text),
            Self::Rejected(rejected) => rejected.fmt(f),
            Self::Full => {
                write!(f, "this host has {MOST_INSTANCES} instances, which is the most; deregister one")
            }
            Self::TooManyChecks => {
                write!(f, "the services of this host would have more than {MOST_CHECKS} checks together")
            }
            Self::Stopping => f.write_str("the agent is stopping"),
        }
    }
}

/// The task, which runs as long as the agent. The machine was born with what the settings say; its checks begin now.
pub(crate) fn keep(
    registry: Registry,
    inbox: Inbox,
    requests: mpsc::Sender<Request>,
    tools: Tools,
    settings: Vec<Registration>,
) -> impl Future<Output = ()> {
    let mut keeper =
        Keeper { registry, requests, tools, entries: BTreeMap::new(), last: 0, suspended: None, ended: None };
    for what in settings {
        let (key, entry) = keeper.entry(what, Owner::Settings);
        keeper.entries.insert(key, entry);
    }
    keeper.give_reasons(&keeper.entries, None);
    keeper.run(inbox)
}

struct Keeper {
    registry: Registry,
    requests: mpsc::Sender<Request>,
    tools: Tools,
    entries: Entries,
    /// Number of the newest entry.
    last: u64,
    /// Why the member gives no sign of life, if a check has it so.
    suspended: Option<String>,
    /// The instance whose connection has ended, and of whom that was.
    ended: Option<(Key, String)>,
}

impl Keeper {
    async fn run(mut self, mut inbox: Inbox) {
        let stirred = Arc::clone(&self.tools.stirred);
        loop {
            tokio::select! {
                wish = inbox.0.recv() => match wish {
                    Some(wish) => self.carry_out(wish).await,
                    None => return,
                },
                () = stirred.notified() => self.weigh().await,
            }
        }
    }

    /// Some checks have come to another result. All of them at once: there are few, and each change is told to all members.
    async fn weigh(&mut self) {
        if let Err(refused) = self.change_to(self.entries.clone()).await {
            warn!("the health of services could not be told: {refused}");
        }
    }

    /// Replies may come too late for those who asked.
    async fn carry_out(&mut self, wish: Wish) {
        match wish {
            Wish::Register(what, owner, reply) => {
                let result = self.register(what, owner).await;
                // Its asker may be gone: what is returned then goes here, and the instance with it.
                let _ = reply.send(result);
            }
            Wish::Deregister(key, reply) => {
                let result = self.deregister(&key).await;
                let _ = reply.send(result);
            }
            Wish::Health(key, health, text, reply) => {
                let result = self.health(key, health, text).await;
                let _ = reply.send(result);
            }
            Wish::Settings(all, reply) => {
                let result = self.settings(all).await;
                let _ = reply.send(result);
            }
            Wish::Release(number) => self.release(number).await,
            Wish::Own(reply) => {
                let own = |entry: &Entry| Own {
                    owner: entry.owner,
                    text: entry.text(),
                    checks: entry.checks.iter().map(|check| check.row(&self.tools.clock)).collect(),
                };
                let all = self.entries.iter().map(|(key, entry)| (key.clone(), own(entry)));
                let _ = reply.send(all.collect());
            }
        }
    }

    async fn register(&mut self, what: Registration, owner: Owner) -> Result<Held, Refused> {
        let key = (what.name.clone(), what.instance.id.clone());
        // A script that registers again changes what it has registered; nothing else is replaced.
        if let Some(known) = self.entries.get(&key)
            && (known.owner, owner) != (Owner::Api, Owner::Api)
        {
            return Err(taken(&key, known.owner));
        }
        let (key, entry) = self.entry(what, owner);
        let held = Held {
            registry: self.registry.clone(),
            number: if matches!(owner, Owner::Holder { .. }) { entry.number } else { NO_ENTRY },
            ended: entry.ended.clone(),
        };
        let mut next = self.entries.clone();
        next.insert(key.clone(), entry);
        self.change_to(next).await?;
        info!(service = %key.0, id = key.1, by = %owner, "service registered");
        Ok(held)
    }

    async fn deregister(&mut self, key: &Key) -> Result<(), Refused> {
        let mut next = self.entries.clone();
        let Some(entry) = next.remove(key) else { return Err(unknown(key)) };
        if entry.owner == Owner::Settings {
            return Err(taken(key, entry.owner));
        }
        self.change_to(next).await?;
        info!(service = %key.0, id = key.1, by = %entry.owner, "service deregistered");
        entry.ended.cancel();
        Ok(())
    }

    async fn health(&mut self, key: Key, health: Health, text: Option<String>) -> Result<(), Refused> {
        let mut next = self.entries.clone();
        let Some(entry) = next.get_mut(&key) else { return Err(unknown(&key)) };
        (entry.said, entry.text) = (health, text);
        entry.checks.iter().for_each(|check| check.sign());
        self.change_to(next).await
    }

    async fn settings(&mut self, all: Vec<Registration>) -> Result<(), Refused> {
        let mut next = self.entries.clone();
        next.retain(|_, entry| entry.owner != Owner::Settings);
        for what in all {
            let key = (what.name.clone(), what.instance.id.clone());
            if let Some(known) = next.get(&key) {
                return Err(taken(&key, known.owner));
            }
            let (key, entry) = self.entry(what, Owner::Settings);
            next.insert(key, entry);
        }
        self.change_to(next).await
    }

    /// The connection has ended.
    async fn release(&mut self, number: u64) {
        let Some(key) = self.entries.iter().find(|(_, e)| e.number == number).map(|(key, _)| key.clone())
        else {
            return;
        };
        let mut next = self.entries.clone();
        let Some(entry) = next.remove(&key) else { return };
        info!(service = %key.0, id = key.1, by = %entry.owner, "its connection ended: service deregistered");
        self.ended = Some((key, format!("its connection ended: {}", entry.owner)));
        if let Err(refused) = self.change_to(next).await {
            // The machine refuses nothing that makes the state smaller, unless it leaves, and then all goes.
            warn!("a service whose connection ended: {refused}");
            self.entries.retain(|_, entry| entry.number != number);
        }
    }

    /// Weighs all instances, and has the machine set the values that differ, in one go.
    async fn change_to(&mut self, mut next: Entries) -> Result<(), Refused> {
        if next.len() > MOST_INSTANCES {
            return Err(Refused::Full);
        }
        if next.values().map(|entry| entry.checks.len()).sum::<usize>() > MOST_CHECKS {
            return Err(Refused::TooManyChecks);
        }
        let drained = critical(&next, Effect::Drain).map(|why| format!("{why}, which drains this host"));
        next.values_mut().for_each(|entry| entry.weigh(drained.as_ref()));
        let (old, new) = (values(&self.entries), values(&next));
        let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), None));
        let set = new.iter().filter(|(key, value)| old.get(*key) != Some(*value));
        let set = set.map(|(key, value)| (key.clone(), Some(value.clone())));
        let changes: Vec<_> = gone.chain(set).collect();
        let ended = self.ended.take();
        if !changes.is_empty() {
            self.give_reasons(&next, ended);
            let (reply, answer) = oneshot::channel();
            let command = Request::Command(Command::Set(changes), reply);
            self.requests.send(command).await.map_err(|_| Refused::Stopping)?;
            answer.await.map_err(|_| Refused::Stopping)?.map_err(Refused::Rejected)?;
        }
        let suspended = critical(&next, Effect::Suspend);
        if suspended != self.suspended {
            self.requests.send(Request::Suspend(suspended.clone())).await.map_err(|_| Refused::Stopping)?;
            self.suspended = suspended;
        }
        self.entries = next;
        Ok(())
    }

    fn give_reasons(&self, entries: &Entries, ended: Option<(Key, String)>) {
        let unwell = entries.iter().filter(|(_, entry)| entry.instance.health > Health::Passing);
        let unwell = unwell.filter_map(|(key, entry)| Some((key.clone(), entry.text()?)));
        *self.registry.reasons.lock() = ended.into_iter().chain(unwell).collect();
    }

    /// A new entry. Where its owner goes on, so does each check that is as it was, and with the settings what was said of its
    /// health since.
    fn entry(&mut self, what: Registration, owner: Owner) -> (Key, Entry) {
        let Registration { name, instance, checks } = what;
        let key = (name, instance.id.clone());
        let before = self.entries.get(&key).filter(|before| before.owner == owner);
        let known = before.filter(|_| owner == Owner::Settings);
        let unlooked = if known.is_some() { Health::Passing } else { UNKNOWN };
        let running = |check: Check| {
            let same = before.and_then(|known| known.checks.iter().find(|one| *one.check() == check));
            same.map_or_else(|| Arc::new(Running::start(check.clone(), &self.tools, unlooked)), Arc::clone)
        };
        self.last += 1;
        let mut entry = Entry {
            instance,
            owner,
            number: self.last,
            said: known.map(|known| known.said).unwrap_or_default(),
            text: known.and_then(|known| known.text.clone()),
            checks: checks.into_iter().map(running).collect(),
            drained: None,
            ended: CancellationToken::new(),
        };
        entry.weigh(None);
        (key, entry)
    }
}

fn values(entries: &Entries) -> BTreeMap<String, Vec<u8>> {
    instance::values(entries.iter().map(|((name, _), entry)| (name, &entry.instance))).into_iter().collect()
}

fn taken((name, id): &Key, owner: Owner) -> Refused {
    let which =
        if id.is_empty() { format!("{name} without an id") } else { format!("{name} with id {id:?}") };
    Refused::Taken(match owner {
        Owner::Settings => {
            format!("{which} is in the settings of this agent: change it there, or give another id")
        }
        Owner::Api => format!("{which} was registered by the API: deregister it, or give another id"),
        Owner::Holder { .. } => format!("{which} is held by {owner}: give another id, or end that program"),
    })
}

fn unknown((name, id): &Key) -> Refused {
    let with = if id.is_empty() { "without an id".to_owned() } else { format!("with id {id:?}") };
    Refused::Unknown(format!("no instance of {name} {with} is registered here"))
}

/// Of no entry: these are counted from 1.
const NO_ENTRY: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use heartsay_membership::Name;

    use crate::services::Instance;
    use crate::services::check::{Kind, Terms};

    /// A registry whose machine takes everything but a state with `refused` in it; what it was told to set.
    fn registry(
        settings: Vec<Registration>,
        refused: &'static str,
    ) -> (Registry, mpsc::UnboundedReceiver<Vec<String>>) {
        let (requests, mut asked) = mpsc::channel(4);
        let (told, set) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(request) = asked.recv().await {
                if let Request::Suspend(why) = request {
                    let _ = told.send(vec![format!("suspended: {why:?}")]);
                    continue;
                }
                let Request::Command(Command::Set(changes), reply) = request else { panic!("{request:?}") };
                if changes.iter().any(|(key, _)| key == refused) {
                    let _ = reply.send(Err(Rejected::UnknownMember(Name::new("x").unwrap())));
                    continue;
                }
                let sign = |value: &Option<Vec<u8>>| if value.is_some() { '+' } else { '-' };
                let shown = changes.iter().map(|(key, value)| format!("{}{key}", sign(value)));
                let _ = told.send(shown.collect());
                let _ = reply.send(Ok(()));
            }
        });
        let (registry, inbox) = Registry::new();
        tokio::spawn(keep(registry.clone(), inbox, requests, Tools::alone(), settings));
        (registry, set)
    }

    fn named(name: &str, id: &str) -> Registration {
        let instance = Instance { id: id.to_owned(), ..Instance::default() };
        Registration { name: name.parse().unwrap(), instance, checks: Vec::new() }
    }

    fn key(name: &str) -> Key {
        (name.parse().unwrap(), String::new())
    }

    const HOLDER: Owner = Owner::Holder { uid: 7, pid: Some(42) };

    #[tokio::test]
    async fn a_held_instance_is_gone_with_its_connection_and_another_id_stays() {
        let (registry, mut set) = registry(vec![], "");
        let one = registry.register(named("db", ""), HOLDER).await.unwrap();
        let _two = registry.register(named("db", "2"), HOLDER).await.unwrap();
        let refused = registry.register(named("db", ""), HOLDER).await.unwrap_err().to_string();
        assert!(refused.contains("held by process 42 of uid 7"), "{refused}");
        drop(one);
        for told in ["+service.db", "+service.db", "+service.db"] {
            assert_eq!(set.recv().await.unwrap(), [told]);
        }
        assert_eq!(registry.own().await.len(), 1);
        let again = registry.register(named("db", ""), HOLDER).await.unwrap();
        registry.deregister(key("db")).await.unwrap();
        assert!(again.ended.is_cancelled(), "its holder is told");
    }

    #[tokio::test]
    async fn equal_values_set_nothing_and_what_the_machine_refuses_is_not_registered() {
        let (registry, mut set) = registry(vec![named("web", "")], "service.bad");
        registry.settings(vec![named("web", "")]).await.unwrap();
        drop(registry.register(named("db", ""), Owner::Api).await.unwrap());
        drop(registry.register(named("db", ""), Owner::Api).await.unwrap());
        assert!(registry.register(named("bad", ""), Owner::Api).await.is_err());
        assert!(registry.settings(vec![named("web", ""), named("bad", "")]).await.is_err());
        assert!(matches!(registry.settings(vec![named("db", "")]).await, Err(Refused::Taken(_))));
        assert!(matches!(registry.deregister(key("web")).await, Err(Refused::Taken(_))));
        assert!(matches!(registry.deregister(key("bad")).await, Err(Refused::Unknown(_))));
        registry.settings(vec![named("api", "")]).await.unwrap();
        registry.health(key("db"), Health::Critical, Some("disk".to_owned())).await.unwrap();
        assert_eq!(set.recv().await.unwrap(), ["+service.db"]);
        assert_eq!(set.recv().await.unwrap(), ["-service.web", "+service.api"]);
        assert_eq!(set.recv().await.unwrap(), ["+service.db"]);
        let own = registry.own().await;
        assert_eq!(own[&key("db")].text.as_deref(), Some("disk"));
        assert_eq!(own.len(), 2);
    }

    #[tokio::test]
    async fn the_worst_of_owner_and_checks_is_told_and_a_check_that_stays_goes_on() {
        let terms = Terms { rise: 1, warn: 1, fall: 1, grace: Duration::ZERO };
        let (hour, second) = (Duration::from_secs(3600), Duration::from_secs(1));
        let check = |name: &str, program: &str| Check {
            name: name.to_owned(),
            kind: Kind::Exec(vec!["/bin/sh".to_owned(), "-c".to_owned(), program.to_owned()]),
            interval: hour,
            limit: 20 * second,
            terms,
            effect: Effect::Note,
        };
        let (good, bad) = (check("good", "exit 0"), check("bad", "exit 2"));
        let web = |checks: &[Check]| vec![Registration { checks: checks.to_vec(), ..named("web", "") }];
        let (registry, mut set) = registry(web(&[good.clone(), bad.clone()]), "");
        let own = async || registry.own().await[&key("web")].clone();
        assert_eq!(set.recv().await.unwrap(), ["+service.web"]);
        while own().await.checks.iter().any(|check| check.result.is_none()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(own().await.text.as_deref(), Some("check bad: exit status: 2"));
        let said = registry.health(key("web"), Health::Critical, Some("by hand".to_owned())).await;
        assert_eq!((said.is_ok(), own().await.text.as_deref()), (true, Some("by hand")));
        let before = own().await.checks;
        registry.settings(web(&[good])).await.unwrap();
        assert_eq!(own().await.checks, before[..1]);
        registry.health(key("web"), Health::Passing, None).await.unwrap();
        assert_eq!((own().await.text, registry.reasons().lock().len()), (None, 0));
    }

    #[tokio::test]
    async fn a_critical_check_drains_its_host_or_has_it_suspended_until_it_is_over() {
        let terms = Terms { rise: 1, warn: 1, fall: 1, grace: Duration::ZERO };
        let check = |effect: Effect| Check {
            name: "space".to_owned(),
            kind: Kind::Exec(["/bin/sh", "-c", "exit 2"].map(str::to_owned).to_vec()),
            interval: Duration::from_secs(3600),
            limit: Duration::from_secs(20),
            terms,
            effect,
        };
        let db = |checks: Vec<Check>| vec![Registration { checks, ..named("db", "") }];
        let (registry, mut set) = registry(db(vec![]), "");
        registry.register(named("web", ""), Owner::Api).await.unwrap();
        assert_eq!(set.recv().await.unwrap(), ["+service.web"]);

        registry.settings(db(vec![check(Effect::Drain)])).await.unwrap();
        while set.recv().await.unwrap() != ["+service.db", "+service.web"] {}
        let text = async |name: &str| registry.own().await[&key(name)].text.clone();
        assert_eq!(text("db").await.as_deref(), Some("check space: exit status: 2"));
        let drained = "check space of db is critical, which drains this host";
        assert_eq!(text("web").await.as_deref(), Some(drained));

        registry.settings(db(vec![check(Effect::Suspend)])).await.unwrap();
        let suspended = [r#"suspended: Some("check space of db is critical")"#];
        while set.recv().await.unwrap() != suspended {}
        assert_eq!(text("web").await, None, "it is not drained any more");
        registry.settings(db(vec![])).await.unwrap();
        while set.recv().await.unwrap() != ["suspended: None"] {}
    }

    #[tokio::test]
    async fn a_host_has_no_more_instances_than_others_read() {
        let (registry, _set) = registry(vec![], "");
        for n in 0..MOST_INSTANCES {
            registry.register(named("db", &n.to_string()), Owner::Api).await.unwrap();
        }
        assert!(matches!(registry.register(named("web", ""), HOLDER).await, Err(Refused::Full)));
    }
}
