-- A login for each task, after `pii-vault init` made the roles. Can be run again.
\getenv password PII_VAULT_DEMO_PASSWORD
SELECT format('CREATE ROLE %I LOGIN', name) FROM unnest(ARRAY['etl_service', 'analyst', 'compliance_ops']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE etl_service PASSWORD :'password';
ALTER ROLE analyst PASSWORD :'password';
ALTER ROLE compliance_ops PASSWORD :'password';
GRANT pii_vault_ingest TO etl_service;
GRANT pii_vault_analyst TO analyst;
GRANT pii_vault_redrive TO compliance_ops;
