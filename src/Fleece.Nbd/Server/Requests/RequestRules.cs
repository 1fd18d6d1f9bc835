// SPDX-License-Identifier: MIT
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Server.Replies;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Requests;

/// <summary>The rules a request must keep, checked before any of its numbers is used (rule R5).</summary>
/// <remarks>Source: NBD protocol, "Request types", "Command flags" and "Error values"; docs/nbd.md lists the answers.</remarks>
internal sealed class RequestRules(NbdExport export, bool isStructured, bool isExtended, bool hasContexts)
{
    private readonly TransmissionFlags _offered = export.GetFlags(isStructured, isExtended);
    private readonly ulong _lengthBytes = (ulong)export.LengthBytes;
    private readonly ulong _alignmentMask = (ulong)export.MinimumBlockBytes - 1;

    public Refusal Check(in RequestHeader request)
    {
        CommandFlags allowed = AllowedFlags(request.Command);
        if ((request.Flags & ~allowed) != 0)
        {
            return Invalid($"The flags 0x{(ushort)(request.Flags & ~allowed):x} mean nothing on this command.");
        }

        switch (request.Command)
        {
            case NbdCommand.Read:
                return request.Length > NbdLimits.MaximumPayloadBytes
                    ? new Refusal(NbdError.Overflow, $"A read is at most {NbdLimits.MaximumPayloadBytes} bytes long.")
                    : CheckRange(request, NbdError.Invalid);
            case NbdCommand.Write when request.Length > NbdLimits.MaximumPayloadBytes:
                return Invalid($"A write is at most {NbdLimits.MaximumPayloadBytes} bytes long.");
            case NbdCommand.Write or NbdCommand.WriteZeroes:
                return CheckChange(request, TransmissionFlags.None, ExportAccess.Write, NbdError.NoSpace);
            case NbdCommand.Trim:
                return CheckChange(request, TransmissionFlags.SendTrim, ExportAccess.Consume, NbdError.Invalid);
            case NbdCommand.Cache when request.Length > NbdLimits.MaximumPayloadBytes:
                return Invalid($"At most {NbdLimits.MaximumPayloadBytes} bytes are read ahead at a time.");
            case NbdCommand.Cache:
                return CheckRange(request, NbdError.Invalid);
            case NbdCommand.Flush:
                return request.Offset != 0 || request.Length != 0
                    ? Invalid("A flush has offset 0 and length 0.")
                    : default;
            case NbdCommand.BlockStatus:
                return CheckStatus(request);
            default:
                return Invalid($"The command {(ushort)request.Command} is not known here.");
        }
    }

    private Refusal CheckChange(
        in RequestHeader request, TransmissionFlags needed, ExportAccess access, NbdError beyondEnd)
    {
        if (export.Access < access)
        {
            return new Refusal(
                NbdError.NotPermitted,
                export.Access == ExportAccess.Read
                    ? "The export is read-only."
                    : "A snapshot can be read and discarded, not written.");
        }

        return (_offered & needed) != needed ? Invalid("The export does not offer this command.") : CheckRange(request, beyondEnd);
    }

    private Refusal CheckStatus(in RequestHeader request)
    {
        if (!hasContexts)
        {
            return Invalid("Block status needs a metadata context, and none was chosen.");
        }

        // With the flag the length is that of the payload, which holds the range's own.
        if ((request.Flags & CommandFlags.PayloadLength) != 0)
        {
            return StatusPayload.IsPossibleLength(request.Length)
                ? default
                : Invalid("The payload of a block status is 8 bytes of length and then 4 bytes for each context.");
        }

        return request.Length == 0 ? Invalid("Block status needs a range of at least one byte.") : CheckRange(request, NbdError.Invalid);
    }

    /// <summary>Checks a range against the end of the export and the smallest block.</summary>
    public Refusal CheckRange(in RequestHeader request, NbdError beyondEnd)
    {
        if (request.Offset > _lengthBytes || request.Length > _lengthBytes - request.Offset)
        {
            return new Refusal(
                beyondEnd, $"The range of {request.Length} bytes at {request.Offset} reaches beyond the end at {_lengthBytes}.");
        }

        return ((request.Offset | request.Length) & _alignmentMask) != 0
            ? Invalid($"Offset and length must be multiples of {export.MinimumBlockBytes} bytes.")
            : default;
    }

    private CommandFlags AllowedFlags(NbdCommand command) => command switch
    {
        NbdCommand.Read => isStructured ? CommandFlags.DontFragment : CommandFlags.None,
        NbdCommand.Write => Fua | (isExtended ? CommandFlags.PayloadLength : CommandFlags.None),
        NbdCommand.WriteZeroes => Fua | CommandFlags.NoHole | CommandFlags.FastZero,
        NbdCommand.Trim => Fua,
        NbdCommand.BlockStatus => CommandFlags.RequestOne | (isExtended ? CommandFlags.PayloadLength : CommandFlags.None),
        _ => CommandFlags.None,
    };

    private CommandFlags Fua => (_offered & TransmissionFlags.SendFua) != 0 ? CommandFlags.Fua : CommandFlags.None;

    private static Refusal Invalid(string message) => new(NbdError.Invalid, message);
}
