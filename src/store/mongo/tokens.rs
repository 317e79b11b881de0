//! The token records: one document for each account, with the right to refresh it as a lease in the same document.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::error::{ErrorKind, WriteFailure};
use secrecy::{ExposeSecret, SecretString};

use super::decode::decode;
use super::document::{bson_date, date_from};
use super::{MongoPostStore, filter};
use crate::post::TokenRecord;
use crate::store::{Lease, LeaseWrite, StoreError, TokenStore};

const DUPLICATE_KEY: i32 = 11000;

#[async_trait]
impl TokenStore for MongoPostStore {
    async fn load_token(&self, key: &str) -> Result<Option<TokenRecord>, StoreError> {
        // Any program can have written the record, so the driver does not decode it.
        let records = self.tokens.clone_with_type::<RawDocumentBuf>();
        let found = self.run("read tokens from", records.find_one(doc! { "_id": key })).await?;
        Ok(found.and_then(|raw| record_from(&decode(&raw))))
    }

    /// Takes the lease if no lease is valid. The document is created first, because an upsert cannot read the clock.
    async fn lock_token(&self, key: &str, lease: &Lease) -> Result<LeaseWrite, StoreError> {
        let action = "lock tokens in";
        let made = self.tokens.update_one(doc! { "_id": key }, doc! { "$setOnInsert": { "_id": key } }).upsert(true);
        let made = async {
            match made.await {
                // Another process created it at the same moment.
                Err(error) if is_duplicate(&error) => Ok(()),
                made => made.map(drop),
            }
        };
        self.run(action, made).await?;
        let lasts = i64::try_from(lease.lasts.as_millis()).unwrap_or(i64::MAX);
        let update = doc! { "$set": {
            "refresh": { "by": { "$literal": lease.by.as_str() }, "until": { "$add": ["$$NOW", lasts] } },
        } };
        let filter = doc! { "_id": key, "$expr": filter::is_not_live("$refresh.until") };
        let taken = self.run(action, self.tokens.update_one(filter, vec![update])).await?;
        Ok(if taken.matched_count == 1 { LeaseWrite::Applied } else { LeaseWrite::Lost })
    }

    async fn save_token(&self, record: &TokenRecord, by: &str) -> Result<LeaseWrite, StoreError> {
        let date = |date: Option<DateTime<Utc>>| date.map_or(Bson::Null, bson_date);
        let set = doc! {
            "platform": record.platform.as_str(),
            "source": record.source.as_str(),
            "accessToken": record.access_token.expose_secret(),
            "accessExpiresAt": date(record.access_expires_at),
            "refreshToken": record.refresh_token.as_ref().map(ExposeSecret::expose_secret),
            "refreshExpiresAt": date(record.refresh_expires_at),
        };
        let update = doc! { "$set": set, "$unset": { "refresh": "" }, "$currentDate": { "updatedAt": true } };
        let filter = doc! { "_id": &record.key, "refresh.by": by };
        let written = self.run("store tokens in", self.tokens.update_one(filter, update)).await?;
        Ok(if written.matched_count == 1 { LeaseWrite::Applied } else { LeaseWrite::Lost })
    }

    async fn unlock_token(&self, key: &str, by: &str) -> Result<(), StoreError> {
        let filter = doc! { "_id": key, "refresh.by": by };
        let update = doc! { "$unset": { "refresh": "" } };
        self.run("unlock tokens in", self.tokens.update_one(filter, update)).await.map(drop)
    }
}

impl MongoPostStore {
    pub(super) async fn all_tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let found = self.run_query("read tokens from", self.tokens.find(doc! {})).await?;
        Ok(found.iter().filter_map(record_from).collect())
    }
}

/// A record without an access token is only a lease.
fn record_from(document: &Document) -> Option<TokenRecord> {
    let date = |name: &str| document.get(name).and_then(date_from);
    Some(TokenRecord {
        key: document.get_str("_id").ok()?.to_owned(),
        platform: document.get_str("platform").ok()?.parse().ok()?,
        source: document.get_str("source").ok()?.to_owned(),
        access_token: SecretString::from(document.get_str("accessToken").ok()?),
        access_expires_at: date("accessExpiresAt"),
        refresh_token: document.get_str("refreshToken").ok().map(SecretString::from),
        refresh_expires_at: date("refreshExpiresAt"),
    })
}

fn is_duplicate(error: &mongodb::error::Error) -> bool {
    match error.kind.as_ref() {
        ErrorKind::Write(WriteFailure::WriteError(write)) => write.code == DUPLICATE_KEY,
        ErrorKind::Command(command) => command.code == DUPLICATE_KEY,
        _ => false,
    }
}
