-- KEYS: entry, claim. ARGV: whether to claim (0: never, 1: if there is no entry, 2: always), holder, milliseconds.
-- Returns the entry or false, and 0: unclaimed, 1: claimed by this holder, 2: held by another one.
local entry = redis.call('GET', KEYS[1])
if ARGV[1] == '0' or (ARGV[1] == '1' and entry) then
    return {entry, 0}
end
if redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3], 'NX') then
    return {entry, 1}
end
return {entry, 2}
