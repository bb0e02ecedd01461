-- A migration of its own: what adds a value to an enum cannot use it.
ALTER TYPE pii_vault.audit_action ADD VALUE 'key_rotation';
