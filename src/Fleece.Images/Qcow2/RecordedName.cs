// SPDX-License-Identifier: MIT
using System.Text.Json;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;

namespace Fleece.Images.Qcow2;

/// <summary>The name of another file as an image records it: a path, "file:PATH", or the "json:" form of a local file.</summary>
/// <remarks>
/// <para>QEMU and libvirt write "json:" followed by an object with the options of a block device. The members of a plain local file are
/// read, nested or flat:</para>
/// <code>
/// {"driver":"qcow2","file":{"driver":"file","filename":"PATH"}}     {"driver":"qcow2","file.driver":"file","file.filename":"PATH"}
/// {"file":{"filename":"PATH"}}                                      {"file.filename":"PATH"}
/// </code>
/// <para>Any other member can change the bytes that the device shows, as an offset does, so it is refused by its name. A plain path may be
/// relative to the image's folder. QEMU takes a relative one of the other forms for a path in the folder it was started in, so those are
/// refused.</para>
/// </remarks>
internal sealed record RecordedName
{
    private const string FilePrefix = "file:";
    private const string JsonPrefix = "json:";
    private const string FileDriver = "file";
    private const string FormatMember = "driver";
    private const string DriverMember = "file.driver";
    private const string FilenameMember = "file.filename";

    /// <summary>Full path of the file.</summary>
    public required string Path { get; init; }

    /// <summary>The format's driver that a "json:" name asks for; null when the name says nothing of the format.</summary>
    public string? FormatName { get; private init; }

    /// <summary>Reads a name.</summary>
    /// <param name="imagePath">The image that records it; a relative path is relative to its folder.</param>
    /// <param name="field">What the field is called, for messages.</param>
    /// <param name="name">The name; not empty.</param>
    /// <param name="fileAdvice">How the user gets an image that Fleece follows where a plain file is meant, or nothing that QEMU could
    /// read.</param>
    /// <param name="otherAdvice">The same where QEMU reads more, or something else, than a plain file.</param>
    /// <exception cref="BlockException">Unsupported: it names no local file, or asks for more than that; Corrupt: a null character.
    /// </exception>
    public static RecordedName Read(string imagePath, string field, string name, string fileAdvice, string otherAdvice)
    {
        BlockException RefuseFile(string what) => FormatFault.Qcow2.Unsupported(imagePath, $"its {field} {what}. {fileAdvice}");
        BlockException RefuseOther(string what) => FormatFault.Qcow2.Unsupported(imagePath, $"its {field} {what}. {otherAdvice}");

        (string path, string? formatName) = name switch
        {
            _ when name.StartsWith(JsonPrefix, StringComparison.Ordinal) => ReadJson(name[JsonPrefix.Length..], RefuseFile, RefuseOther),
            _ when name.StartsWith(FilePrefix, StringComparison.Ordinal) => (name[FilePrefix.Length..], null),
            _ when IsProtocol(name) => throw RefuseOther($"is '{name}', and Fleece follows paths only"),
            _ => (name, null),
        };
        return ReferenceEquals(path, name) || System.IO.Path.IsPathRooted(path)
            ? new RecordedName { Path = Resolve(imagePath, field, path), FormatName = formatName }
            : throw RefuseFile($"is '{name}', where QEMU looks for '{path}' in the folder that it was started in");
    }

    /// <summary>True for names that QEMU hands to a driver of its own: "json:{...}", "nbd://host/x", "rbd:pool/x".</summary>
    public static bool IsProtocol(string name)
    {
        int colon = name.IndexOf(':', StringComparison.Ordinal);
        int slash = name.IndexOfAny(['/', '\\']);
        bool isDrive = OperatingSystem.IsWindows() && colon == 1;
        return colon > 0 && !isDrive && (slash < 0 || colon < slash);
    }

    private static (string Path, string? FormatName) ReadJson(
        string json, Func<string, BlockException> refuseFile, Func<string, BlockException> refuseOther)
    {
        Dictionary<string, string> members = [];
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            Collect(document.RootElement, string.Empty, members, refuseFile);
        }
        catch (Exception failure) when (failure is JsonException or InvalidOperationException)
        {
            // The second is half of a surrogate pair, which only comes out when the text is taken.
            throw refuseFile($"is not the JSON object that its 'json:' promises ({failure.Message.TrimEnd('.')})");
        }

        string? formatName = Take(members, FormatMember);
        string? driver = Take(members, DriverMember);
        string? path = Take(members, FilenameMember);
        if (driver is not (null or FileDriver))
        {
            throw refuseOther($"asks QEMU for its driver '{driver}', and Fleece follows local files only");
        }

        if (members.Count != 0)
        {
            throw refuseOther($"asks QEMU for '{members.Keys.First()}', which Fleece does not follow");
        }

        return string.IsNullOrEmpty(path)
            ? throw refuseOther("is a JSON object without a file name")
            : (path, formatName);
    }

    private static string? Take(Dictionary<string, string> members, string name) =>
        members.Remove(name, out string? value) ? value : null;

    // Nested members get the names that the flat form has.
    private static void Collect(
        JsonElement element, string prefix, Dictionary<string, string> members, Func<string, BlockException> refuse)
    {
        if (element.ValueKind != JsonValueKind.Object)
        {
            throw refuse("holds a JSON value where an object is needed");
        }

        foreach (JsonProperty member in element.EnumerateObject())
        {
            string name = prefix + member.Name;
            if (member.Value.ValueKind == JsonValueKind.Object)
            {
                Collect(member.Value, name + ".", members, refuse);
            }
            else if (!members.TryAdd(name, member.Value.ToString()))
            {
                throw refuse($"has the member '{name}' twice");
            }
        }
    }

    // The length of a name is recorded beside it, so nothing but damage puts a null character into it, and no file has such a name.
    private static string Resolve(string imagePath, string field, string name)
    {
        int at = name.IndexOf('\0', StringComparison.Ordinal);
        return at < 0
            ? ImageChain.Resolve(imagePath, name)
            : throw FormatFault.Qcow2.Corrupt(imagePath, $"its {field} '{name.Replace('\0', '?')}' has a null character at {at}");
    }
}
