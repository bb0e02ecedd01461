//! Draining in the test's own process, so that doubles can stand at the AWS edge.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use pii_vault::aws::{KeyWrapper, Queue, Sqs};
use pii_vault::db::{Role, Server};
use pii_vault::etl::{self, Counters, EtlError, Options, Summary};
use pii_vault::keyring::KeyLimits;
use tokio_util::sync::CancellationToken;

use super::{Who, World, login};

impl World {
    pub(crate) async fn drain_in_process(
        &self,
        queue: impl Queue,
        wrapper: impl KeyWrapper,
    ) -> (Result<(), EtlError>, Summary) {
        self.run_in_process(queue, wrapper, true, CancellationToken::new()).await
    }

    pub(crate) async fn run_in_process(
        &self,
        queue: impl Queue,
        wrapper: impl KeyWrapper,
        drain: bool,
        stop: CancellationToken,
    ) -> (Result<(), EtlError>, Summary) {
        let server = Server::parse(&self.database_url(Who::Ingest).into()).unwrap();
        let pool = server.pool(Role::Ingest, 4).await.unwrap();
        let options = Options {
            receivers: NonZeroUsize::new(2).unwrap(),
            writers: NonZeroUsize::new(2).unwrap(),
            batch_size: NonZeroUsize::new(500).unwrap(),
            linger: Duration::from_millis(300),
            max_inflight_bytes: 64 << 20,
            wait: Duration::from_secs(1),
            drain,
            max_messages: None,
            patience: Duration::from_secs(20),
            key_limits: KeyLimits::new(Duration::from_secs(3600), 1 << 24).unwrap(),
        };
        let counters = Arc::new(Counters::default());
        let result = etl::run(queue, wrapper, pool, options, counters.clone(), stop).await;
        (result, counters.summary())
    }

    pub(crate) async fn sqs(&self) -> Sqs {
        self.sqs_hiding_for(Duration::from_secs(30)).await
    }

    pub(crate) async fn sqs_hiding_for(&self, timeout: Duration) -> Sqs {
        Sqs::new(&self.sqs_config().await, self.queue_url.clone(), timeout)
    }

    pub(crate) async fn send_logins(&self, count: usize) {
        self.send((0..count).map(|number| login(number).to_string())).await;
    }
}
