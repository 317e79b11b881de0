//! The token records: one row for each account, with the right to refresh it as a lease in the same row.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension};
use secrecy::{ExposeSecret, SecretString};

use super::query::{Sql, latest_lease, text};
use super::schema::millis;
use super::{SqlitePostStore, now, optional, optional_date, string, until};
use crate::post::TokenRecord;
use crate::store::{Lease, LeaseWrite, StoreError, TokenStore};

#[async_trait]
impl TokenStore for SqlitePostStore {
    async fn load_token(&self, key: &str) -> Result<Option<TokenRecord>, StoreError> {
        let key = key.to_owned();
        self.with("read tokens from", move |connection| {
            let sql = "SELECT * FROM tokens WHERE key = ? AND access_token IS NOT NULL";
            Ok(connection.query_row(sql, [&key], record_from).optional()?.flatten())
        })
        .await
    }

    /// Takes the lease if no lease is valid.
    async fn lock_token(&self, key: &str, lease: &Lease) -> Result<LeaseWrite, StoreError> {
        if let Some(warning) = self.exposure() {
            log::warn!("{warning}");
        }
        let mut sql = Sql::new(format!(
            "INSERT INTO tokens (key, refresh_by, refresh_until) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE \
             SET refresh_by = excluded.refresh_by, refresh_until = excluded.refresh_until \
             WHERE coalesce({until}, 0) <= ? OR {until} > ?",
            until = millis("tokens.refresh_until")
        ));
        let at = now();
        sql.values = vec![
            string(key),
            string(&lease.by),
            text(until(lease)),
            Value::Integer(at.timestamp_millis()),
            latest_lease(at),
        ];
        self.write("lock tokens in", sql).await
    }

    async fn save_token(&self, record: &TokenRecord, by: &str) -> Result<LeaseWrite, StoreError> {
        let mut sql = Sql::new(
            "UPDATE tokens SET platform = ?, source = ?, access_token = ?, access_expires_at = ?, refresh_token = ?, \
             refresh_expires_at = ?, refresh_by = NULL, refresh_until = NULL, updated_at = ? \
             WHERE key = ? AND refresh_by = ?",
        );
        sql.values = vec![
            string(record.platform.as_str()),
            string(&record.source),
            string(record.access_token.expose_secret()),
            optional_date(record.access_expires_at),
            optional(record.refresh_token.as_ref().map(ExposeSecret::expose_secret)),
            optional_date(record.refresh_expires_at),
            text(now()),
            string(&record.key),
            string(by),
        ];
        self.write("store tokens in", sql).await
    }

    async fn unlock_token(&self, key: &str, by: &str) -> Result<(), StoreError> {
        let mut sql =
            Sql::new("UPDATE tokens SET refresh_by = NULL, refresh_until = NULL WHERE key = ? AND refresh_by = ?");
        sql.values = vec![string(key), string(by)];
        self.write("unlock tokens in", sql).await.map(drop)
    }
}

/// All of them.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<TokenRecord>> {
    let mut statement = connection.prepare("SELECT * FROM tokens WHERE access_token IS NOT NULL")?;
    let records = statement.query_map([], record_from)?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(records.into_iter().flatten().collect())
}

/// A record that cannot be read, or of a platform that this version does not know, is ignored.
fn record_from(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<TokenRecord>> {
    let text =
        |name: &str| -> rusqlite::Result<Option<String>> { Ok(row.get_ref(name)?.as_str().ok().map(str::to_owned)) };
    let date = |name: &str| -> rusqlite::Result<Option<DateTime<Utc>>> {
        Ok(text(name)?.and_then(|text| DateTime::parse_from_rfc3339(&text).ok()).map(|at| at.with_timezone(&Utc)))
    };
    let platform = text("platform")?.and_then(|name| name.parse().ok());
    let (Some(platform), Some(key), Some(access_token)) = (platform, text("key")?, text("access_token")?) else {
        return Ok(None);
    };
    Ok(Some(TokenRecord {
        key,
        platform,
        source: text("source")?.unwrap_or_default(),
        access_token: SecretString::from(access_token),
        access_expires_at: date("access_expires_at")?,
        refresh_token: text("refresh_token")?.map(SecretString::from),
        refresh_expires_at: date("refresh_expires_at")?,
    }))
}
