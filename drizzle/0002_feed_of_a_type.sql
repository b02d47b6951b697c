CREATE INDEX "events_type_index" ON "events" USING btree ("tenant_id","type","position") WHERE "events"."type" <> 'transfer.succeeded';
--> statement-breakpoint
-- Batches that were accepted before events and are not complete: they get their event all the same.
UPDATE "transfer_batches" SET "next_check_at" = now()
 WHERE "completed_at" IS NULL AND "next_check_at" IS NULL
   AND EXISTS (SELECT FROM "batch_items"
                WHERE "batch_items"."tenant_id" = "transfer_batches"."tenant_id"
                  AND "batch_items"."batch_id" = "transfer_batches"."id"
                  AND NOT EXISTS (SELECT FROM "transfers"
                                   WHERE "transfers"."tenant_id" = "batch_items"."tenant_id"
                                     AND "transfers"."id" = "batch_items"."transfer_id"));
