// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Disks.Names;

/// <summary>The name of a dirty bitmap in QEMU, which holds what QEMU has no field for: the instant that the bits count from.</summary>
/// <remarks>
/// <code>
/// NAME                 counts from nothing that Fleece knows: a bitmap of the user's, or one that a backup is still to be made for
/// NAME@32HEX           counts from that instant
/// NAME@32HEX+          records since the instant of a session that has not ended, beside the bitmap NAME that the session pinned
/// </code>
/// The name can't say it of a bitmap that another tool has made anew, so no bitmap counts from a backup that it does not belong to.
/// A qcow2 image keeps the names, so a mount of it here finds them too, and changes nothing that would make one of them untrue.
/// </remarks>
/// <param name="Name">The name that users give.</param>
/// <param name="InstantId">The instant; null for none.</param>
/// <param name="IsPending">True while the session of the instant has not ended.</param>
internal sealed record QemuBitmapName(string Name, Guid? InstantId = null, bool IsPending = false)
{
    // QEMU's limit, BDRV_BITMAP_MAX_NAME_SIZE of its QMP reference: 1023 bytes.
    private const int MaximumBytes = 1023;
    private const char Separator = '@';
    private const char Pending = '+';
    private const int IdLength = 32;

    /// <summary>Most bytes of a user's name, so that there is room for the rest.</summary>
    public const int MaximumNameBytes = MaximumBytes - IdLength - 2;

    /// <summary>Reads QEMU's name. Any name is one.</summary>
    public static QemuBitmapName Parse(string exactName)
    {
        bool isPending = exactName.EndsWith(Pending);
        ReadOnlySpan<char> rest = exactName.AsSpan(0, exactName.Length - (isPending ? 1 : 0));
        int at = rest.Length - IdLength - 1;
        return at > 0 && rest[at] == Separator && Guid.TryParseExact(rest[(at + 1)..], "N", out Guid id)
            ? new QemuBitmapName(rest[..at].ToString(), id, isPending)
            : new QemuBitmapName(exactName);
    }

    /// <summary>Refuses a user's name for a new bitmap that says an instant.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/></exception>
    public static void CheckNew(string name)
    {
        if (Parse(name).InstantId is not null)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"'{name}' can't be the name of a bitmap: behind its '@' stands what Fleece writes there itself. Give another one.");
        }
    }

    /// <summary>QEMU's name.</summary>
    public override string ToString() =>
        InstantId is { } id ? $"{Name}{Separator}{id:N}{(IsPending ? Pending : string.Empty)}" : Name;
}
