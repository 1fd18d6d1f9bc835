// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Runtime.InteropServices;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Nbd.Server.Listening;

/// <summary>Who may connect to a unix socket: the permissions of its file, and the file's group.</summary>
/// <param name="Mode">The permissions. A client needs the one to write. Source: unix(7), "Pathname socket ownership and permissions".
/// </param>
/// <param name="GroupId">The group; null for the one that the system gives to new files.</param>
internal sealed record SocketAccess(UnixFileMode Mode, uint? GroupId)
{
    private const UnixFileMode Owner = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode Group = UnixFileMode.GroupRead | UnixFileMode.GroupWrite;
    private const UnixFileMode Permissions = (UnixFileMode)0x1FF;

    // A group with many members has a long entry. Source: getgrnam_r(3).
    private const int MaximumGroupEntryBytes = 4 * 1024 * 1024;

    // lchown(2) leaves a group of this number as it is.
    private const uint NoId = uint.MaxValue;

    /// <summary>Reads what a user asks for.</summary>
    /// <param name="uri">The address.</param>
    /// <param name="mode">The permissions; null for the owner alone or, where there is a group, for the owner and the group.</param>
    /// <param name="group">The group's name or number; null for none.</param>
    /// <param name="allowInsecure">True to let all users of the machine connect without TLS.</param>
    /// <returns>The access; null for an address that has no file.</returns>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/>, <see cref="BlockErrors.Unsupported"/> or
    /// <see cref="NbdErrors.InsecureListener"/>.</exception>
    public static SocketAccess? Of(NbdUri uri, UnixFileMode? mode, string? group, bool allowInsecure)
    {
        if (mode is null && group is null)
        {
            return uri.IsUnix ? new SocketAccess(Owner, null) : null;
        }

        if (!uri.IsUnix)
        {
            throw Invalid($"'{uri}' is a TCP address, and -SocketMode and -SocketGroup are for unix sockets. Leave them out.");
        }

        if (OperatingSystem.IsWindows())
        {
            throw new BlockException(
                BlockErrors.Unsupported, "Windows has no modes and groups of files. Leave -SocketMode and -SocketGroup out.");
        }

        SocketAccess access = new(mode ?? (Owner | Group), group is null ? null : FindGroup(group));
        access.Check(uri, allowInsecure);
        return access;
    }

    /// <summary>Refuses permissions that no socket of a disk should have.</summary>
    /// <inheritdoc cref="Of" path="/exception"/>
    public void Check(NbdUri uri, bool allowInsecure)
    {
        if ((Mode & ~Permissions) != 0)
        {
            throw Invalid($"The mode {this} has more than permissions. Give one from 0600 to 0777, such as 0660.");
        }

        if ((Mode & Owner) != Owner)
        {
            throw Invalid($"The mode {this} keeps the socket's own user out. Give one from 0600 to 0777, such as 0660.");
        }

        if (Mode.HasFlag(UnixFileMode.OtherWrite) && !uri.IsTls && !allowInsecure)
        {
            throw new BlockException(
                NbdErrors.InsecureListener,
                $"The mode {this} would offer the disk at '{uri}' to every user of this machine. Name the group that needs it with " +
                "-SocketGroup, or accept that with -AllowInsecure.");
        }
    }

    /// <summary>Gives the file of a bound socket this group and these permissions.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.PermissionDenied"/> or <see cref="BlockErrors.IoFailed"/>.</exception>
    public void ApplyTo(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        // The group first: the mode must not open the file to the group that it had.
        if (GroupId is { } groupId && LibC.ChangeOwner(path, NoId, groupId) != 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            string reason = Marshal.GetPInvokeErrorMessage(errno);
            throw errno == LibC.NotPermittedErrno
                ? new BlockException(
                    BlockErrors.PermissionDenied,
                    $"This user may not give '{path}' to the group {groupId}, which it is no member of. Add it to the group, or choose " +
                    "another with -SocketGroup.",
                    path)
                : new BlockException(BlockErrors.IoFailed, $"Cannot give '{path}' to the group {groupId}: {reason}.", path);
        }

        File.SetUnixFileMode(path, Mode);
    }

    /// <summary>The permissions as chmod takes them.</summary>
    public override string ToString() => Convert.ToString((int)Mode, 8).PadLeft(4, '0');

    // A name that looks like a number is a name first. Source: POSIX, chgrp.
    private static uint FindGroup(string group)
    {
        LibC.GroupEntry entry = default;
        byte[] buffer = new byte[1024];
        nint found = 0;
        while (group.Length != 0 &&
            LibC.FindGroup(group, ref entry, ref buffer[0], (nuint)buffer.Length, out found) == LibC.ResultTooLargeErrno &&
            buffer.Length < MaximumGroupEntryBytes)
        {
            buffer = new byte[buffer.Length * 2];
        }

        if (found != 0)
        {
            return entry.Id;
        }

        return uint.TryParse(group, NumberStyles.None, CultureInfo.InvariantCulture, out uint id) && id != NoId
            ? id
            : throw Invalid($"There is no group '{group}' on this machine. Give the name or the number of one with -SocketGroup.");
    }

    private static BlockException Invalid(string message) => new(BlockErrors.InvalidArgument, message);
}
