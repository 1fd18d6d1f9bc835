// SPDX-License-Identifier: MIT
using System.Numerics;
using Fleece.Block;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client.Negotiation;

/// <summary>What the handshake has told of an export so far, each number checked (rule R5).</summary>
internal sealed class ExportInfo
{
    /// <summary>Size and flags as EXPORT_NAME answers them.</summary>
    public const int NamedBytes = sizeof(ulong) + sizeof(ushort);

    private const int MinimumPreferredBytes = 512;

    private long? _lengthBytes;
    private TransmissionFlags _flags;
    private bool _isNegotiated = true;
    private (uint Minimum, uint Preferred, uint MaximumPayload)? _blockSize;

    /// <summary>True when what is mandatory has come.</summary>
    public bool IsComplete => _lengthBytes is not null;

    /// <summary>Reads the answer to EXPORT_NAME. Source: NBD protocol, "NBD_OPT_EXPORT_NAME".</summary>
    public static ExportInfo ReadNamed(OptionChannel channel, ReadOnlySpan<byte> answer)
    {
        WireReader reader = new(answer[..NamedBytes]);
        ExportInfo info = new() { _isNegotiated = false };
        info.AddExport(channel, ref reader);
        return info;
    }

    /// <summary>Reads a piece of information. Source: NBD protocol, "NBD_REP_INFO".</summary>
    public void Add(OptionChannel channel, ReadOnlySpan<byte> reply)
    {
        WireReader reader = new(reply);
        if (!reader.TryTakeUInt16(out ushort type))
        {
            throw channel.Violation($"information of {reply.Length} bytes", "at least a type");
        }

        switch ((InfoType)type)
        {
            case InfoType.Export:
                AddExport(channel, ref reader);
                break;
            case InfoType.BlockSize:
                AddBlockSize(channel, ref reader);
                break;
            default:
                // Names, descriptions and what later versions add are of no use here; the specification says to skip them.
                break;
        }
    }

    /// <summary>What was agreed.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.Unsupported"/>: the last bytes could not be reached.</exception>
    public AgreedExport ToExport(
        NbdUri uri, ReplyForm form, uint? allocationContext, uint? accessContext, IReadOnlyDictionary<string, string> identity)
    {
        long lengthBytes = _lengthBytes.GetValueOrDefault();
        int alignmentBytes = (int?)_blockSize?.Minimum ??
            (_isNegotiated || lengthBytes % NbdLimits.UnnegotiatedAlignmentBytes != 0 ? 1 : NbdLimits.UnnegotiatedAlignmentBytes);
        if (lengthBytes % alignmentBytes != 0)
        {
            throw new BlockException(
                BlockErrors.Unsupported,
                $"The export at '{uri}' has {lengthBytes} bytes and can be accessed only in blocks of {alignmentBytes}, so its last " +
                "bytes can't be reached. Pad it to whole blocks at the server.",
                uri.ToString(),
                operation: "connect");
        }

        long maximumBytes = Math.Min(_blockSize?.MaximumPayload ?? uint.MaxValue, NbdLimits.MaximumPayloadBytes);
        int payloadBytes = (int)(maximumBytes - maximumBytes % alignmentBytes);
        return new AgreedExport(lengthBytes, _flags, form, alignmentBytes, payloadBytes, allocationContext, accessContext, identity)
        {
            BlockSizesBytes = _blockSize,
        };
    }

    private void AddExport(OptionChannel channel, ref WireReader reader)
    {
        if (!reader.TryTakeUInt64(out ulong lengthBytes) || !reader.TryTakeUInt16(out ushort flags) || !reader.IsAtEnd)
        {
            throw channel.Violation($"a malformed description of the export", "u64 size and u16 flags");
        }

        if (lengthBytes > long.MaxValue)
        {
            throw channel.Violation($"an export of {lengthBytes} bytes", $"at most {long.MaxValue}");
        }

        // Without HAS_FLAGS the others still count, as for QEMU: a read-only export is one, and FLUSH is not left out where it is offered.
        _flags = (TransmissionFlags)flags;
        if (_lengthBytes is not null)
        {
            throw channel.Violation($"the size of the export twice", "it once");
        }

        _lengthBytes = (long)lengthBytes;
    }

    // Source: NBD protocol, "Block size constraints".
    private void AddBlockSize(OptionChannel channel, ref WireReader reader)
    {
        if (!reader.TryTakeUInt32(out uint minimum) ||
            !reader.TryTakeUInt32(out uint preferred) ||
            !reader.TryTakeUInt32(out uint maximum) ||
            !reader.IsAtEnd)
        {
            throw channel.Violation($"malformed block sizes", "three times u32");
        }

        if (!BitOperations.IsPow2(minimum) || minimum > NbdLimits.MaximumMinimumBlockBytes)
        {
            throw channel.Violation($"a minimum block of {minimum} bytes", "a power of two up to 65536");
        }

        if (!BitOperations.IsPow2(preferred) || preferred < Math.Max(minimum, MinimumPreferredBytes))
        {
            throw channel.Violation($"a preferred block of {preferred} bytes", "a power of two, at least 512 and the minimum");
        }

        if (maximum < minimum || (maximum != uint.MaxValue && maximum % minimum != 0))
        {
            throw channel.Violation($"a maximum payload of {maximum} bytes", $"a multiple of the minimum block of {minimum}");
        }

        _blockSize = (minimum, preferred, maximum);
    }
}
