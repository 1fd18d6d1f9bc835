// SPDX-License-Identifier: MIT
using Fleece.Nbd.Server.Negotiation;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Requests;

/// <summary>The payload of a block status request that names its contexts: u64 length, then u32 context ids.</summary>
/// <remarks>Source: NBD protocol, extended-header branch, "NBD_FLAG_BLOCK_STATUS_PAYLOAD".</remarks>
internal static class StatusPayload
{
    private const int LengthBytes = sizeof(ulong);

    public static bool IsPossibleLength(ulong payloadBytes) =>
        payloadBytes is >= LengthBytes and <= NbdLimits.MaximumStringBytes && payloadBytes % sizeof(uint) == 0;

    /// <summary>Reads the range's length and, as a bit each, which of the chosen contexts are wanted; false for an unknown one.</summary>
    public static bool TryRead(
        ReadOnlySpan<byte> payload, IReadOnlyList<ChosenContext> chosen, out ulong lengthBytes, out ulong wanted)
    {
        WireReader reader = new(payload);
        wanted = 0;
        if (!reader.TryTakeUInt64(out lengthBytes))
        {
            return false;
        }

        while (reader.TryTakeUInt32(out uint id))
        {
            int index = -1;
            for (int i = 0; i < chosen.Count; i++)
            {
                index = chosen[i].Id == id ? i : index;
            }

            if (index < 0)
            {
                return false;
            }

            wanted |= 1UL << index;
        }

        return true;
    }
}
