//! The thread that has the connection. All statements run there, one after another: a file has one writer, and a thread
//! that is at work takes the next statement at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::StoreError;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle to the thread. With the last handle the connection is closed.
#[derive(Debug, Clone)]
pub(super) struct ConnectionThread(Arc<Running>);

#[derive(Debug)]
struct Running {
    /// None only while it is dropped.
    jobs: Option<Sender<Job>>,
    /// Ends when the connection is closed. Only one handle waits for that, the last one.
    closed: Mutex<Receiver<()>>,
}

/// How long the end of the process waits for the connection. A job that hangs would hold it up for ever.
const CLOSING: Duration = Duration::from_secs(1);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // SQLite tidies up its files when it closes the connection, so the process should not end before that.
        let closed = self.closed.get_mut().unwrap_or_else(PoisonError::into_inner);
        closed.recv_timeout(CLOSING).unwrap_or_default();
    }
}

impl ConnectionThread {
    /// Opens the connection on a new thread. Returns what `open` returns besides.
    ///
    /// # Errors
    /// That of `open`, or that the system gives no thread.
    pub(super) async fn start<T: Send + 'static>(
        open: impl FnOnce() -> Result<(Connection, T), StoreError> + Send + 'static,
    ) -> Result<(Self, T), StoreError> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let (opened, result) = oneshot::channel();
        let (open_until_here, closed) = mpsc::channel::<()>();
        let body = move || {
            // Dropped after the connection, because it was there before.
            let _open_until_here = open_until_here;
            let mut connection = match open() {
                Ok((connection, more)) => {
                    drop(opened.send(Ok(more)));
                    connection
                }
                Err(error) => return drop(opened.send(Err(error))),
            };
            for job in waiting {
                // A panic has been reported, and whoever waits for the job is told. The others continue.
                drop(catch_unwind(AssertUnwindSafe(|| job(&mut connection))));
            }
        };
        let started = Builder::new().name("sqlite".to_owned()).spawn(body);
        started.map_err(|error| StoreError::new("start the SQLite thread", error.to_string()))?;
        let running = Running { jobs: Some(jobs), closed: Mutex::new(closed) };
        let more = result.await.unwrap_or_else(|_| Err(failed()))?;
        Ok((Self(Arc::new(running)), more))
    }

    /// Runs a closure on the thread, even if nobody waits for it any more.
    ///
    /// # Errors
    /// That of the closure, or that it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, result) = oneshot::channel();
        let job = move |connection: &mut Connection| drop(done.send(run(connection)));
        let sent = self.0.jobs.as_ref().map(|jobs| jobs.send(Box::new(job)));
        if !matches!(sent, Some(Ok(()))) {
            return Err(failed());
        }
        result.await.unwrap_or_else(|_| Err(failed()))
    }
}

fn failed() -> StoreError {
    StoreError::new("use the post store", "the SQLite thread failed")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn opened(connection: Connection) -> impl FnOnce() -> Result<(Connection, ()), StoreError> {
        || Ok((connection, ()))
    }

    fn execute(connection: &Connection, sql: &str) -> Result<(), StoreError> {
        connection.execute_batch(sql).map_err(|error| StoreError::new("execute", error.to_string()))
    }

    #[tokio::test]
    async fn a_panic_ends_nothing_but_its_own_job() {
        let (thread, ()) = ConnectionThread::start(opened(Connection::open_in_memory().unwrap())).await.unwrap();
        thread.run(|connection| execute(connection, "CREATE TABLE a (b)")).await.unwrap();
        let error = thread.run::<()>(|_| panic!("in a job")).await.unwrap_err();
        assert!(error.to_string().contains("the SQLite thread failed"), "{error}");
        thread.run(|connection| execute(connection, "INSERT INTO a VALUES (1)")).await.unwrap();
    }

    #[tokio::test]
    async fn the_connection_is_closed_with_the_last_handle() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("a.db")).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        let (thread, ()) = ConnectionThread::start(opened(connection)).await.unwrap();
        let other = thread.clone();
        thread.run(|connection| execute(connection, "CREATE TABLE a (b)")).await.unwrap();
        drop(thread);
        let log = folder.path().join("a.db-wal");
        assert!(log.exists(), "another handle keeps it open");
        drop(other);
        assert!(!log.exists(), "SQLite removes the log when it closes the file");
    }

    #[tokio::test]
    async fn a_job_that_hangs_does_not_hold_up_the_end() {
        let (thread, ()) = ConnectionThread::start(opened(Connection::open_in_memory().unwrap())).await.unwrap();
        let (hang, until) = mpsc::channel::<()>();
        let job = thread.run(move |_| {
            // It ends with the test, when the other side is gone.
            until.recv().unwrap_or_default();
            Ok(())
        });
        assert!(tokio::time::timeout(Duration::from_millis(50), job).await.is_err());
        let begin = Instant::now();
        drop(thread);
        assert!(begin.elapsed() < CLOSING + Duration::from_secs(10));
        drop(hang);
    }

    #[tokio::test]
    async fn an_error_at_the_start_is_told() {
        let fail = || Err::<(Connection, ()), _>(StoreError::new("open", "no such file"));
        let error = ConnectionThread::start(fail).await.unwrap_err();
        assert!(error.to_string().contains("no such file"), "{error}");
    }
}
