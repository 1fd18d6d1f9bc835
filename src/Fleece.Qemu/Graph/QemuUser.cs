// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Graph;

/// <summary>The user that QEMU runs as, who must be able to open what is made for it.</summary>
/// <param name="Id">The user; null where it is this process's.</param>
internal readonly record struct QemuUser(uint? Id)
{
    // chown(2): the group stays.
    private const uint SameGroup = uint.MaxValue;

    /// <summary>Finds out.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.PermissionDenied"/> where this process can't make files for that user.
    /// <see cref="QemuErrors.FeatureMissing"/> on a system without locks that tell a dead process.</exception>
    public static QemuUser Of(QemuMonitor monitor)
    {
        if (!OperatingSystem.IsLinux())
        {
            throw new BlockException(
                QemuErrors.FeatureMissing, "Sessions of guests that QEMU runs need Linux. Run this there.", monitor.SocketPath);
        }

        uint own = PosixStat.UserId;
        if (monitor.Channel.PeerUserId is not { } user || user == own)
        {
            return new QemuUser(null);
        }

        return own == 0
            ? new QemuUser(user)
            : throw new BlockException(
                BlockErrors.PermissionDenied,
                $"The QEMU at '{monitor.SocketPath}' runs as the user {user} and this process as {own}, so it can't make a temp file for " +
                $"it. Run this as the user {user} or as root.",
                monitor.SocketPath);
    }

    /// <summary>Gives a file or folder to the user.</summary>
    public void Own(string path)
    {
        if (Id is { } user && LibC.ChangeOwner(path, user, SameGroup) != 0)
        {
            throw FileErrors.FromCode(Marshal.GetLastPInvokeError(), path, "give to QEMU's user");
        }
    }
}
