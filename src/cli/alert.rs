//! Sends the alert. If that fails, nothing else changes.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::platform::client_builder;
use crate::report::alert_message;
use crate::retry::PassReport;

const TIMEOUT: Duration = Duration::from_secs(10);
const TRIES: u32 = 3;

/// Sends the message for a pass, if there is one. The address may contain a secret, so it is never printed.
pub(super) async fn send(webhook: &SecretString, report: &PassReport, host: &str) {
    let Some(message) = alert_message(report, host) else { return };
    let (scheme, _) = webhook.expose_secret().split_once(':').unwrap_or_default();
    let Ok(client) = client_builder(scheme).timeout(TIMEOUT).build() else { return };
    let mut problem = String::new();
    for attempt in 1..=TRIES {
        match client.post(webhook.expose_secret()).json(&message).send().await {
            Ok(answer) if answer.status().is_success() => return,
            Ok(answer) => problem = format!("it returned HTTP {}", answer.status().as_u16()),
            Err(error) => problem = error.without_url().to_string(),
        }
        if attempt < TRIES {
            tokio::time::sleep(Duration::from_millis(500) * attempt).await;
        }
    }
    log::warn!("failed to send the alert to `ALERT_WEBHOOK_URL`: {problem}");
}
