-- KEYS: head, log, floors, generations. ARGV: number and random part of the epoch that was seen, or '' and '';
-- those of the epoch that begins; tag of all tenants; its generation. Returns 1, or 0 if another epoch was begun
-- meanwhile.
local head = redis.call('HMGET', KEYS[1], 'number', 'random', 'last', 'trimmed', 'floors', 'version', 'generations')
local complete = true
for place = 1, 7 do complete = complete and head[place] end
if complete and (head[1] ~= ARGV[1] or head[2] ~= ARGV[2]) then return 0 end
if not complete and ARGV[1] ~= '' then return 0 end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('HSET', KEYS[4], ARGV[5], ARGV[6])
redis.call('HSET', KEYS[1], 'number', ARGV[3], 'random', ARGV[4], 'last', 0, 'trimmed', 0, 'floors', 0,
    'version', redis.call('TIME')[1], 'generations', 1, 'chain', '')
return 1
