// SPDX-License-Identifier: MIT
namespace Fleece.Nbd.Wire;

/// <summary>Every limit on what a peer may ask or send (rule R5). docs/nbd.md explains them to users.</summary>
internal static class NbdLimits
{
    /// <summary>IANA's port for NBD.</summary>
    public const int DefaultPort = 10809;

    /// <summary>Longest string: export names, queries, descriptions, messages. Source: NBD protocol, "String values".</summary>
    public const int MaximumStringBytes = 4096;

    /// <summary>Longest payload of a read or write, which the server announces. Clients that don't negotiate sizes keep to
    /// it too. Source: NBD protocol, "Block size constraints".</summary>
    public const int MaximumPayloadBytes = 32 * 1024 * 1024;

    /// <summary>Largest smallest block that a server may announce. Source: NBD protocol, "Block size constraints".</summary>
    public const int MaximumMinimumBlockBytes = 64 * 1024;

    /// <summary>Block size that suits every export. Source: NBD protocol, default of "preferred block size".</summary>
    public const int PreferredBlockBytes = 4096;

    /// <summary>Alignment to which clients keep that did not negotiate sizes. Source: NBD protocol, "Block size constraints".</summary>
    public const int UnnegotiatedAlignmentBytes = 512;

    /// <summary>Payload of a refused write that the server reads and drops; for more it drops the connection.</summary>
    public const int MaximumSkippedPayloadBytes = 128 * 1024 * 1024;

    /// <summary>Longest option the server looks into: a full export name and some hundred queries, within the two first buffers that
    /// the connection does not have yet.</summary>
    public const int MaximumOptionBytes = 128 * 1024;

    /// <summary>Longest option the server reads past to refuse it; for more it drops the connection.</summary>
    public const int MaximumSkippedOptionBytes = 32 * 1024 * 1024;

    /// <summary>Options of one handshake: enough to ask about hundreds of exports one by one, not enough to spin for ever.</summary>
    public const int MaximumOptions = 1024;

    /// <summary>Longest reply to an option that the client accepts: a reply names one thing and its text.</summary>
    public const int MaximumOptionReplyBytes = 64 * 1024;

    /// <summary>Replies to one option that the client accepts.</summary>
    public const int MaximumOptionReplies = 4096;

    /// <summary>Extents in one reply that the client accepts. Source: NBD protocol, "NBD_REPLY_TYPE_BLOCK_STATUS".</summary>
    public const int MaximumExtents = 1 << 20;

    /// <summary>Extents in one chunk of the server: the longest ones fit into 64 KiB with what precedes them.</summary>
    public const int MaximumServedExtents = 4092;

    /// <summary>Longest extent of a compact reply: 32 bits, cut to whole 512-byte sectors.</summary>
    public const long MaximumCompactExtentBytes = 0xFFFF_FE00;
}
