// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Hosting.Systemd;

/// <summary>Names of listeners in systemd's descriptor store.</summary>
/// <remarks>A name is made of the address alone, so the next process of the service finds the listener of an address without a table. They
/// are short because all names together become one variable of the environment, which may have 128 KiB (execve(2), MAX_ARG_STRLEN).
/// </remarks>
internal static class DescriptorNames
{
    /// <summary>The longest name that systemd takes: sd_notify(3), FDNAME=.</summary>
    public const int MaximumLength = 255;

    // 96 bits: no two of some thousand addresses share them.
    private const int DigestBytes = 12;

    private static readonly SearchValues<char> Allowed = SearchValues.Create(
        [.. Enumerable.Range(' ', '~' - ' ' + 1).Select(code => (char)code).Where(character => character != ':')]);

    /// <summary>The name for the listener at a unix socket's path.</summary>
    /// <remarks>The file's device and inode are in it. Once another program has put a socket of its own at the path, or the folder was made
    /// anew, no client reaches the stored listener any more, and its name is not found either.</remarks>
    /// <returns>Null where nothing stands at the path.</returns>
    public static string? OfSocketFile(string path) => PosixStat.TryLook(path, out PosixStat.FileLook look)
        ? Of("unix", string.Create(CultureInfo.InvariantCulture, $"{look.Device:x}/{look.Inode:x}/{path}"))
        : null;

    /// <summary>The name for a listener at an address and port.</summary>
    public static string OfPort(string address, int port) => Of("tcp", string.Create(CultureInfo.InvariantCulture, $"{address}/{port}"));

    /// <summary>Refuses a name that systemd would not take.</summary>
    /// <exception cref="BlockException">InvalidArgument.</exception>
    public static void Check(string name)
    {
        if (name.Length is 0 or > MaximumLength || name.AsSpan().ContainsAnyExcept(Allowed))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"'{name}' is no name for a stored descriptor: 1 to {MaximumLength} printable characters of ASCII, and no colon.");
        }
    }

    private static string Of(string family, string address) =>
        $"{family}-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(address)).AsSpan(0, DigestBytes))}";
}
