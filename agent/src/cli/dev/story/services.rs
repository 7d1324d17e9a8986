//! Services: programs that all agents know of, and one that dies.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{Change, Instance, Story, Times, fail};
use crate::cli::dev::step::Step;
use crate::client::Client;

/// What runs: the service, its port, and the agent of its host.
const SERVICES: [(&str, u16, usize); 3] = [("web", 8080, 0), ("web", 8080, 1), ("db", 5432, 2)];
/// Which of them dies …
const VICTIM: usize = 1;
/// … and which says that it is not well.
const ILL: usize = 2;

impl Story {
    /// Starts the services, and waits until all agents know them; one says that it is not well.
    pub(super) async fn serve(&mut self) -> anyhow::Result<()> {
        let size = self.board.size();
        let here: Vec<(&str, u16, usize)> = SERVICES.into_iter().filter(|(_, _, at)| *at < size).collect();
        let started = Instant::now();
        for (service, port, at) in &here {
            self.services.push(self.cluster.serve(*at, service, *port)?);
        }
        for (service, _, at) in &here {
            self.until(service, *at, "passing", started).await?;
        }
        let words: Vec<String> = here
            .iter()
            .map(|(service, port, at)| format!("{service} on {}:{port}", self.name(*at)))
            .collect();
        self.stage.step(&Step::Serving { services: &words })?;
        if let Some((service, _, at)) = here.get(ILL) {
            let said = Instant::now();
            let Some(socket) = self.cluster.nodes().get(*at).map(|n| n.socket.clone()) else { return Ok(()) };
            let wish = json!({ "name": service, "health": "warning", "text": "its replica is late" });
            Client::new(socket.to_str()).post("/v1/services/health", &wish, Duration::ZERO).await?;
            self.until(service, *at, "warning", said).await?;
            let member = self.name(*at);
            self.stage.step(&Step::Unwell {
                service,
                member: &member,
                health: "warning",
                text: "its replica is late",
            })?;
        }
        Ok(())
    }

    /// Kills the program of one service; all agents see that it is gone.
    pub(super) async fn lose_a_service(&mut self) -> anyhow::Result<()> {
        let Some((service, _, at)) = SERVICES.get(VICTIM).filter(|(_, _, at)| *at < self.board.size()) else {
            return Ok(());
        };
        let Some(program) = self.services.get_mut(VICTIM) else { return Ok(()) };
        let pid = program.id();
        let killed = Instant::now();
        program.start_kill()?;
        let member = self.name(*at);
        self.stage.step(&Step::ServiceKilled { service, member: &member, pid })?;
        let seen = self.until(service, *at, "gone", killed).await?.spread();
        self.result.service_gone = seen;
        self.stage.step(&Step::ServiceGone { service, member: &member, seen })
    }

    /// Until every agent sees the instance so.
    async fn until(
        &mut self,
        service: &str,
        at: usize,
        state: &str,
        since: Instant,
    ) -> anyhow::Result<Times> {
        let wanted = Instance { service: service.to_owned(), member: self.name(at), state: state.to_owned() };
        let mut times = Times::new(since);
        let deadline = since + self.bound();
        while (0..self.board.size()).any(|observer| !self.board.sees(observer, &wanted)) {
            let Some(Change { observer, at, changed }) = self.next(deadline).await? else {
                let (bound, member) = (self.bound(), &wanted.member);
                return fail(format!("after {bound:?} not every agent sees {service} on {member} {state}"));
            };
            if changed.service.as_ref() == Some(&wanted)
                && let Some(seconds) = times.note(observer, at)
            {
                let by = self.name(observer);
                let (member, state, seconds) = (wanted.member.as_str(), state, Some(seconds));
                self.stage.step(&Step::Service { by: &by, service, member, state, seconds })?;
            }
            for member in changed.members {
                self.expect_well(observer, member)?;
            }
        }
        Ok(times)
    }
}
