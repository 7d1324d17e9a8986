//! The service of `exec`: registered while the command runs, over restarts of the agent.

use std::convert::Infallible;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::super::exit::say;
use super::super::members::key_value;
use super::super::service::{CheckFields, check_fields};
use crate::client::{Client, ClientError, Hold};
use crate::services::ServiceName;
use crate::types::RegisterRequest;

/// What `exec` is told about the service.
#[derive(Args)]
pub(super) struct ServiceOptions {
    /// Register this service of this host while the command runs: it is gone the moment the command, or this
    /// process, is.
    #[arg(long, value_name = "NAME")]
    service: Option<ServiceName>,
    /// Where the service listens.
    #[arg(long, requires = "service", value_parser = clap::value_parser!(u16).range(1..), value_name = "PORT")]
    service_port: Option<u16>,
    /// Tells the service from others of the name on this host.
    #[arg(long, requires = "service", value_name = "ID")]
    service_id: Option<String>,
    /// What the service says of itself; several are given one by one.
    #[arg(long, requires = "service", value_parser = key_value, value_name = "KEY=VALUE")]
    service_tag: Vec<(String, String)>,
    /// What the agent looks at to know how the service is, as in `heartsay service register --check`.
    #[arg(long, requires = "service", value_parser = check_fields, value_name = "KIND=TARGET[,FIELD=VALUE]...")]
    service_check: Vec<CheckFields>,
}

/// The service to register.
pub(super) struct Registration<'a> {
    client: &'a Client,
    wish: RegisterRequest,
}

impl ServiceOptions {
    /// With the agent that is to be told; `None`: no service is wanted.
    pub(super) fn registration<'a>(&self, client: &'a Client) -> Option<Registration<'a>> {
        let name = self.service.as_ref()?.to_string();
        let wish = RegisterRequest {
            name,
            id: self.service_id.clone().unwrap_or_default(),
            port: self.service_port,
            address: None,
            tags: self.service_tag.iter().cloned().collect(),
            checks: self.service_check.clone(),
            hold: true,
        };
        Some(Registration { client, wish })
    }
}

impl Registration<'_> {
    /// Registers before the command starts. `None`: the agent is away, which keeps no command from running.
    ///
    /// # Errors
    /// The agent refuses.
    pub(super) async fn begin(&self) -> Result<Option<Hold>, ClientError> {
        let limit = Instant::now() + TAKEN_FOR;
        loop {
            match self.client.hold(&self.wish).await {
                Ok(hold) => return Ok(Some(hold)),
                Err(error) if error.may_pass() => {
                    self.lacks(&error);
                    return Ok(None);
                }
                // The agent may not have heard yet that our forerunner has ended.
                Err(error) if error.is_conflict() && Instant::now() < limit => {
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Registers again whenever the agent is back; says once that it is away.
    pub(super) async fn keep(&self, mut hold: Option<Hold>) -> Infallible {
        let mut told = hold.is_none();
        loop {
            if let Some(hold) = hold.take() {
                let error = hold.ended().await;
                if !std::mem::replace(&mut told, true) {
                    self.lacks(&error);
                }
            }
            tokio::time::sleep(RETRY).await;
            match self.client.hold(&self.wish).await {
                Ok(again) => {
                    say(&format!("service {} is registered", self.wish.name));
                    (hold, told) = (Some(again), false);
                }
                Err(error) if error.may_pass() || error.is_conflict() => {}
                Err(error) if !told => {
                    told = true;
                    self.lacks(&error);
                }
                Err(_) => {}
            }
        }
    }

    fn lacks(&self, error: &ClientError) {
        say(&format!("service {} is not registered for now: {error}", self.wish.name));
    }
}

/// How long a refusal because of another holder may be the last word of a program that has ended just now.
const TAKEN_FOR: Duration = Duration::from_secs(1);
/// How often a missing agent is looked for.
const RETRY: Duration = Duration::from_millis(100);
