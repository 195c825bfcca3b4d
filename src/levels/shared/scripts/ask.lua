-- KEYS: entry, claim, poll claim. ARGV: whether to claim (0: never, 1: if there is no entry, 2: always), holder, milliseconds, the
-- most bytes of an entry, who wants to poll the call or '', for how many milliseconds, and 1 if it leaves the call to another
-- one that polls it.
-- Returns the entry or false, then for the claim and the poll claim each 0: unclaimed, 1: this holder's, 2: another one's. The
-- same who polls extends its poll claim by asking again. No gateway writes a longer entry or a value of another type, so the
-- former is cut off before it is sent, and the latter is no entry.
local entry = redis.pcall('GETRANGE', KEYS[1], 0, ARGV[4])
if type(entry) == 'table' then
    if not string.find(entry.err, 'WRONGTYPE', 1, true) then return entry end
    entry = false
elseif entry == '' then
    entry = false
end
if ARGV[1] == '0' or (ARGV[1] == '1' and entry) then
    return {entry, 0, 0}
end
local polls = 0
if ARGV[5] ~= '' then
    -- A value of another type is replaced.
    local poller = redis.pcall('GET', KEYS[3])
    if type(poller) == 'string' and poller ~= ARGV[5] then
        if ARGV[7] == '1' then return {entry, 0, 2} end
        polls = 2
    else
        redis.call('SET', KEYS[3], ARGV[5], 'PX', ARGV[6])
        polls = 1
    end
end
if redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3], 'NX') then
    return {entry, 1, polls}
end
return {entry, 2, polls}
