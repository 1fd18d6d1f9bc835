// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Images.Chain;
using Fleece.Images.Container;

namespace Fleece.Images.Vhdx.Structures;

/// <summary>Where the parent of a differencing image is, and which state of it is meant (MS-VHDX section 2.6.2.6).</summary>
/// <remarks>
/// <code>
///  0 16  locator_type           from 20, 12 bytes each:   0  4  key_offset       8  2  key_length
/// 16  2  reserved                                         4  4  value_offset    10  2  value_length
/// 18  2  key_value_count        keys and values are UTF-16, little-endian
/// </code>
/// <para>The specification has no null character behind a text; some programs write one, and it counts as none.</para>
/// </remarks>
internal sealed class ParentLocator
{
    private const int HeaderBytes = 20;
    private const int PairBytes = 12;

    private readonly Dictionary<string, string> _pairs = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>A new locator, of a parent at a full path.</summary>
    public ParentLocator(string childPath, string parentPath, Guid parentDataWriteGuid)
    {
        _pairs["parent_linkage"] = $"{{{parentDataWriteGuid}}}";
        string relativePath = Path.GetRelativePath(Path.GetDirectoryName(Path.GetFullPath(childPath))!, parentPath);
        if (!Path.IsPathRooted(relativePath))
        {
            string windowsPath = relativePath.Replace(Path.DirectorySeparatorChar, '\\');
            _pairs["relative_path"] = windowsPath.StartsWith("..\\", StringComparison.Ordinal) ? windowsPath : $".\\{windowsPath}";
        }

        if (OperatingSystem.IsWindows())
        {
            _pairs["absolute_win32_path"] = parentPath;
        }
    }

    private ParentLocator()
    {
    }

    /// <exception cref="Fleece.Block.BlockException">Corrupt, Unsupported.</exception>
    public static ParentLocator Parse(string path, ReadOnlySpan<byte> item)
    {
        Guid type = new(item[..16]);
        if (type != VhdxFormat.VhdxParentLocator)
        {
            throw FormatFault.Vhdx.Unsupported(path, $"its parent locator is of the type {type}, which Fleece does not know");
        }

        int count = BinaryPrimitives.ReadUInt16LittleEndian(item[18..]);
        if (count > VhdxLimits.MaxLocatorPairs || HeaderBytes + (count * PairBytes) > item.Length)
        {
            throw FormatFault.Vhdx.Corrupt(
                path, $"the parent locator's key_value_count is {count}, which does not fit into its {item.Length} bytes");
        }

        ParentLocator locator = new();
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> pair = item.Slice(HeaderBytes + (i * PairBytes), PairBytes);
            string key = ReadText(path, "key", item, pair, 0, 8);
            if (!locator._pairs.TryAdd(key, ReadText(path, "value", item, pair, 4, 10)))
            {
                throw FormatFault.Vhdx.Corrupt(path, $"its parent locator has the key '{key}' twice");
            }
        }

        return locator;
    }

    public byte[] ToBytes()
    {
        int textBytes = _pairs.Sum(pair => (pair.Key.Length + pair.Value.Length) * sizeof(char));
        byte[] item = new byte[HeaderBytes + (_pairs.Count * PairBytes) + textBytes];
        VhdxFormat.VhdxParentLocator.TryWriteBytes(item);
        BinaryPrimitives.WriteUInt16LittleEndian(item.AsSpan(18), (ushort)_pairs.Count);
        int atBytes = HeaderBytes + (_pairs.Count * PairBytes);
        Span<byte> pair = item.AsSpan(HeaderBytes);
        foreach ((string key, string value) in _pairs)
        {
            WriteText(item, key, pair, 0, 8, ref atBytes);
            WriteText(item, value, pair, 4, 10, ref atBytes);
            pair = pair[PairBytes..];
        }

        return item;
    }

    /// <summary>True when the locator means a parent in the state that its DataWriteGuid names.</summary>
    public bool Means(Guid parentDataWriteGuid) =>
        IsLinkage("parent_linkage", parentDataWriteGuid) || IsLinkage("parent_linkage2", parentDataWriteGuid);

    /// <summary>The state of the parent that is meant, for messages.</summary>
    public string Linkage => _pairs.GetValueOrDefault("parent_linkage", "none");

    /// <summary>Full paths where the parent may be, in the order of section 2.6.2.6.3.</summary>
    /// <remarks>Where there are no drive letters, a Windows path stands for a file of its name beside the child.</remarks>
    /// <exception cref="Fleece.Block.BlockException">Corrupt: no path at all.</exception>
    public IReadOnlyList<string> Candidates(string childPath)
    {
        List<string> candidates = [];
        foreach (string key in (ReadOnlySpan<string>)["relative_path", "volume_path", "absolute_win32_path"])
        {
            if (_pairs.TryGetValue(key, out string? recorded) && recorded.Length != 0 && !recorded.Contains('\0', StringComparison.Ordinal))
            {
                string candidate = ImageChain.Resolve(childPath, ToLocalPath(recorded));
                if (!candidates.Contains(candidate))
                {
                    candidates.Add(candidate);
                }
            }
        }

        return candidates.Count != 0 ? candidates : throw FormatFault.Vhdx.Corrupt(
            childPath, "its parent locator has none of relative_path, volume_path and absolute_win32_path");
    }

    private static string ToLocalPath(string recorded)
    {
        if (OperatingSystem.IsWindows())
        {
            return recorded;
        }

        string local = recorded.Replace('\\', '/');
        bool isWindowsPath = (recorded.Length > 1 && recorded[1] == ':') || recorded.StartsWith(@"\\", StringComparison.Ordinal);
        return isWindowsPath ? Path.GetFileName(local) : local;
    }

    private static string ReadText(
        string path, string name, ReadOnlySpan<byte> item, ReadOnlySpan<byte> pair, int offsetField, int lengthField)
    {
        uint offsetBytes = BinaryPrimitives.ReadUInt32LittleEndian(pair[offsetField..]);
        int lengthBytes = BinaryPrimitives.ReadUInt16LittleEndian(pair[lengthField..]);
        return offsetBytes + (long)lengthBytes <= item.Length && lengthBytes % sizeof(char) == 0
            ? Encoding.Unicode.GetString(item.Slice((int)offsetBytes, lengthBytes)).TrimEnd('\0')
            : throw FormatFault.Vhdx.Corrupt(
                path,
                $"its parent locator has a {name}_offset {offsetBytes} with a {name}_length {lengthBytes}, which is no UTF-16 " +
                $"text within its {item.Length} bytes");
    }

    private static void WriteText(
        Span<byte> item, string text, Span<byte> pair, int offsetField, int lengthField, ref int atBytes)
    {
        int lengthBytes = Encoding.Unicode.GetBytes(text, item[atBytes..]);
        BinaryPrimitives.WriteInt32LittleEndian(pair[offsetField..], atBytes);
        BinaryPrimitives.WriteUInt16LittleEndian(pair[lengthField..], checked((ushort)lengthBytes));
        atBytes += lengthBytes;
    }

    private bool IsLinkage(string key, Guid guid) =>
        _pairs.TryGetValue(key, out string? text) && Guid.TryParse(text, out Guid linkage) && linkage == guid;
}
