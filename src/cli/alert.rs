//! Sends the alert, after the result is printed. If that fails, nothing else changes.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::platform::client_builder;
use crate::retry::Shutdown;

const TIMEOUT: Duration = Duration::from_secs(5);
const TRIES: u32 = 3;

/// How long all tries together may take.
const LIMIT: Duration = Duration::from_secs(10);

/// How long the alert of a pass that was stopped may take.
const AFTER_STOP: Duration = Duration::from_secs(3);

/// Sends a message. A stop that comes meanwhile ends it at once. The address may contain a secret, so it is never
/// printed.
pub(super) async fn send(webhook: &SecretString, message: &Value, shutdown: &Shutdown) {
    let limit = if shutdown.signal().is_some() { AFTER_STOP } else { LIMIT };
    let stopped_meanwhile = async {
        if shutdown.is_stopping() {
            std::future::pending::<()>().await;
        }
        shutdown.stopping().await;
    };
    let problem = tokio::select! {
        result = try_to_send(webhook, message) => result.err(),
        () = stopped_meanwhile => Some("it did not respond before the process had to stop".to_owned()),
        () = tokio::time::sleep(limit) => Some(format!("it did not respond within {} s", limit.as_secs())),
    };
    if let Some(problem) = problem {
        log::warn!("failed to send the alert to `ALERT_WEBHOOK_URL`: {problem}");
    }
}

async fn try_to_send(webhook: &SecretString, message: &Value) -> Result<(), String> {
    let (scheme, _) = webhook.expose_secret().split_once(':').unwrap_or_default();
    let client = client_builder(scheme).timeout(TIMEOUT).build().map_err(|error| error.to_string())?;
    let mut problem = String::new();
    for attempt in 1..=TRIES {
        match client.post(webhook.expose_secret()).json(message).send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => problem = format!("it returned HTTP {}", answer.status().as_u16()),
            Err(error) => problem = error.without_url().to_string(),
        }
        if attempt < TRIES {
            tokio::time::sleep(Duration::from_millis(500) * attempt).await;
        }
    }
    Err(problem)
}
