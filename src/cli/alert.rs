//! Sends the alert, after the result is printed. If that fails, nothing else changes.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::platform::client_builder;
use crate::retry::Shutdown;

const TIMEOUT: Duration = Duration::from_secs(10);
const TRIES: u32 = 3;

/// How long the process waits for the webhook when it is to stop.
const AFTER_STOP: Duration = Duration::from_secs(3);

/// Sends a message. A webhook that does not respond does not keep a process that is to stop. The address may contain
/// a secret, so it is never printed.
pub(super) async fn send(webhook: &SecretString, message: &Value, shutdown: &Shutdown) {
    let stopped = async {
        shutdown.stopping().await;
        tokio::time::sleep(AFTER_STOP).await;
        "it did not respond before the process had to stop".to_owned()
    };
    let problem = tokio::select! {
        result = try_to_send(webhook, message) => result.err(),
        problem = stopped => Some(problem),
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
