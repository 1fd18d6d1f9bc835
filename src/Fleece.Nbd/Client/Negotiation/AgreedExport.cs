// SPDX-License-Identifier: MIT
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client.Negotiation;

/// <summary>The form that a server's replies take.</summary>
internal enum ReplyForm
{
    Simple,
    Structured,
    Extended,
}

/// <summary>What client and server have agreed on for one connection.</summary>
/// <param name="LengthBytes">Size of the export.</param>
/// <param name="Flags">What the export offers.</param>
/// <param name="Form">The form of replies; extended ones come with extended requests.</param>
/// <param name="AlignmentBytes">Offsets and lengths are multiples of this power of two, at most 64 KiB.</param>
/// <param name="MaximumPayloadBytes">Longest read or write, a multiple of the alignment.</param>
/// <param name="AllocationContext">The number of <c>base:allocation</c> in replies, or null.</param>
/// <param name="AccessContext">The number of <c>fleece:access</c> in replies, or null.</param>
/// <param name="Identity">What the server tells of the export, by key; empty for nothing.</param>
internal sealed record AgreedExport(
    long LengthBytes,
    TransmissionFlags Flags,
    ReplyForm Form,
    int AlignmentBytes,
    int MaximumPayloadBytes,
    uint? AllocationContext,
    uint? AccessContext,
    IReadOnlyDictionary<string, string> Identity)
{
    // The largest length of 32 bits that is a multiple of every alignment a server may ask for.
    private const long CompactLengthBytes = uint.MaxValue - (NbdLimits.MaximumMinimumBlockBytes - 1);

    // What requests are made to rely on.
    private const TransmissionFlags NeededFlags =
        TransmissionFlags.SendFlush | TransmissionFlags.SendFua | TransmissionFlags.SendTrim | TransmissionFlags.SendWriteZeroes;

    /// <summary>The smallest, the preferred and the largest request in bytes; null where the server announces none.</summary>
    public (uint Minimum, uint Preferred, uint Maximum)? BlockSizesBytes { get; init; }

    /// <summary>The names of all contexts; null where they were not asked for (<see cref="NbdNodeOptions.ListsContexts"/>).</summary>
    public IReadOnlyList<string>? Contexts { get; init; }

    /// <summary>The number of the context of <see cref="NbdNodeOptions.DirtyBitmap"/> in replies, or null.</summary>
    public uint? DirtyContext { get; init; }

    public bool IsExtended => Form == ReplyForm.Extended;

    public bool IsReadOnly => Offers(TransmissionFlags.ReadOnly);

    /// <summary>Longest range of a request without payload.</summary>
    public long MaximumRangeBytes => IsExtended ? long.MaxValue - (NbdLimits.MaximumMinimumBlockBytes - 1) : CompactLengthBytes;

    public bool Offers(TransmissionFlags flag) => (Flags & flag) != 0;

    /// <summary>True when every request that was made for the first connection suits this one too, and it is of the same disk or the same
    /// instant: a session that ended and began anew has the same name and shows another one.</summary>
    public bool CanStandInFor(AgreedExport first) =>
        LengthBytes == first.LengthBytes &&
        IsReadOnly == first.IsReadOnly &&
        (first.Flags & ~Flags & NeededFlags) == 0 &&
        AlignmentBytes <= first.AlignmentBytes &&
        MaximumPayloadBytes >= first.MaximumPayloadBytes &&
        MaximumRangeBytes >= first.MaximumRangeBytes &&
        (AllocationContext.HasValue || !first.AllocationContext.HasValue) &&
        (AccessContext.HasValue || !first.AccessContext.HasValue) &&
        (DirtyContext.HasValue || !first.DirtyContext.HasValue) &&
        IdentityQuery.AreSame(Identity, first.Identity);
}
