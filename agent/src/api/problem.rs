//! Errors as `application/problem+json`.

use axum::extract::Request;
use axum::extract::rejection::PathRejection;
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use heartsay_membership::Rejected;

use crate::types;

/// Why a request was not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    /// Seconds until it makes sense to ask again.
    retry_after: Option<u32>,
}

impl Problem {
    /// 400: the request makes no sense.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 403: not for this user.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404: no such thing.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409: not as things stand.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 410: events that are not kept any more, or of another life.
    pub(crate) fn gone(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, detail)
    }

    /// 504: another member has not answered.
    pub(crate) fn no_answer(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, detail)
    }

    /// 503: not now.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// 503: too much at once; the next may have more luck.
    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(RETRY_AFTER), ..Self::unavailable(detail) }
    }

    /// Any other status.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after: None }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = types::Problem {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
        };
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response =
            (self.status, content_type, serde_json::to_string(&body).unwrap_or_default()).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// A path of bytes that are no text, behind their per cent signs.
impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Self {
        let detail = rejected.to_string();
        match rejected {
            Rejected::UnknownMember(_) => Self::not_found(detail),
            Rejected::StillHere { .. } | Rejected::Oneself(_) => Self::conflict(detail),
            Rejected::UntrustedSource(_) => {
                Self::conflict(format!("{detail}: trusted_sources lists those that may"))
            }
            Rejected::Leaving => Self::unavailable(detail),
            Rejected::AskingTooMuch => Self::busy(detail),
            Rejected::Name(_)
            | Rejected::State(_)
            | Rejected::Decode(_)
            | Rejected::FarFuture { .. }
            | Rejected::Implausible { .. }
            | Rejected::DuplicateName { .. }
            | Rejected::Full { .. }
            | Rejected::TooManyNames { .. }
            | Rejected::TooManyQuestions { .. }
            | Rejected::BadQuestion
            | Rejected::Replayed { .. }
            | Rejected::Unexpected { .. }
            | Rejected::Address { .. }
            | Rejected::Echo { .. } => Self::bad_request(detail),
        }
    }
}

/// Refuses a query where none is read.
pub(super) async fn no_query(request: Request, next: Next) -> Response {
    let uri = request.uri();
    match uri.query() {
        None | Some("") => next.run(request).await,
        Some(query) => {
            let key = query.split(['=', '&']).next().unwrap_or_default();
            let where_else = match *request.method() {
                Method::POST => "; what it takes is in the body, as JSON",
                _ => "",
            };
            let detail = format!("{key} is not understood; {} takes no query{where_else}", uri.path());
            Problem::bad_request(detail).into_response()
        }
    }
}

pub(super) async fn unknown_path(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path()))
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take {method}", uri.path()))
}

/// Longer than any bounded question takes; streams last longer, so that a place of theirs is a matter of luck.
const RETRY_AFTER: u32 = 10;
