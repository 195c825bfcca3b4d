-- KEYS: head, log, floors, generations. ARGV: number and random part of the epoch, tag, record, records to keep, a new
-- generation or ''. A record is its tag, a digest of all records up to it, and what was announced. Returns the record's number, or 0 in another epoch.
local head = redis.call('HMGET', KEYS[1], 'number', 'random', 'last', 'trimmed', 'chain')
if head[1] ~= ARGV[1] or head[2] ~= ARGV[2] or not head[3] or not head[4] or not head[5] then return 0 end
local last, trimmed = tonumber(head[3]) + 1, tonumber(head[4])
local chain = string.sub(redis.sha1hex(head[5] .. ARGV[3] .. ARGV[4]), 1, 16)
redis.call('HSET', KEYS[2], string.format('%d', last), ARGV[3] .. chain .. ARGV[4])
while last - trimmed > tonumber(ARGV[5]) do
    trimmed = trimmed + 1
    local number = string.format('%d', trimmed)
    local record = redis.call('HGET', KEYS[2], number)
    if record then
        redis.call('HSET', KEYS[3], string.sub(record, 1, 32), number)
        redis.call('HDEL', KEYS[2], number)
    end
end
redis.call('HSET', KEYS[1], 'last', string.format('%d', last), 'trimmed', string.format('%d', trimmed),
    'floors', redis.call('HLEN', KEYS[3]), 'chain', chain)
if ARGV[6] ~= '' then
    redis.call('HSET', KEYS[4], ARGV[3], ARGV[6])
    redis.call('HSET', KEYS[1], 'generations', redis.call('HLEN', KEYS[4]))
    redis.call('HINCRBY', KEYS[1], 'version', 1)
end
return last
