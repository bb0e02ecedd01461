//! A folder in an S3 bucket to which objects are only ever added.

use std::time::Duration;

use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::primitives::ByteStream;

use super::{AwsError, AwsFault};

/// Objects below a prefix of a bucket.
#[derive(Clone, Debug)]
pub struct S3Folder {
    client: aws_sdk_s3::Client,
    bucket: String,
    /// Empty, or with a slash at its end.
    prefix: String,
}

impl S3Folder {
    /// The folder `prefix` of a bucket; its objects are named `<prefix>/<name>`.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, bucket: String, prefix: &str) -> Self {
        let timeouts = TimeoutConfig::builder().operation_timeout(Duration::from_secs(10)).build();
        let config = aws_sdk_s3::config::Builder::from(config).timeout_config(timeouts).build();
        let prefix = match prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Self { client: aws_sdk_s3::Client::from_conf(config), bucket, prefix }
    }

    /// `PutObject` with `If-None-Match: *`. `false`: there is an object of this name, which stays as it is.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn add(&self, name: &str, content: &str) -> Result<bool, AwsError> {
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.key(name))
            .if_none_match("*")
            .content_type("application/json")
            .body(ByteStream::from(content.as_bytes().to_vec()))
            .send()
            .await
            .map_err(AwsError::during("s3:PutObject"));
        match put {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("PreconditionFailed") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// An object; `None` where there is none. Without `s3:ListBucket` S3 does not tell, and denies.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, AwsError> {
        const CALL: &str = "s3:GetObject";
        let got = self.client.get_object().bucket(&self.bucket).key(self.key(name)).send().await;
        match got.map_err(AwsError::during(CALL)) {
            Ok(object) => {
                let body = object.body.collect().await.map_err(|_| AwsError::new(CALL, AwsFault::Unreachable))?;
                Ok(Some(body.to_vec()))
            }
            Err(error) if error.code() == Some("NoSuchKey") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names that sort after `name`, in order.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn names_after(&self, name: &str) -> Result<Vec<String>, AwsError> {
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(&self.prefix)
            .start_after(self.key(name))
            .into_paginator()
            .send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(AwsError::during("s3:ListBucket"))?;
            let keys = page.contents().iter().filter_map(|object| object.key());
            names.extend(keys.filter_map(|key| key.strip_prefix(&self.prefix)).map(ToOwned::to_owned));
        }
        Ok(names)
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}
